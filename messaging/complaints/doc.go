// Package complaints keeps a flood of others' mistakes from filling the log: each
// kind is said once at once, and at the end of a window how many more there were.
package complaints
