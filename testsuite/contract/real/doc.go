// Package real holds the real machine to the contract that the actors count on
// (testsuite/contract), as root, in namespaces of its own.
package real
