// Package stacks tests deacon rootfs as whoever operates a node uses it: a stack
// of Debian is built by the real debootstrap from the mirror of this machine's
// apt sources, and every example runs on it; commands are killed at drawn
// moments.
//
//	DEACON_BIN=$PWD/bin go test ./testsuite/stacks -count 1 -v
//	... -run TestAKilled -stacks.seed 7 -stacks.builds 10
//
// Building is the one thing in all tests for which packets leave the machine. It
// is done once, and everything else goes on in a network namespace of its own.
package stacks
