// Package chaos plays scenarios of faults against the real agent on the real
// kernel, in a network namespace and on a file system of its own, with a
// supervisor that starts the agent again whenever it ends, and by the very
// command that users have: deacon chaos run.
//
// A short one, drawn by the commit's hash, is part of every test run; make
// chaos plays a long one with many containers.
package chaos
