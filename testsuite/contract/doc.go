// Package contract says what the actors count on when they ask a machine for
// something, as one suite that is run twice: on the model machine here, and on
// the real one in testsuite/contract/real. So the model is held to what it stands
// for, and whatever a simulation finds on it concerns the real one.
package contract
