// Package filter compiles the system-call filter of every job: an allow-list
// that knows arguments where a call is harmless in one form only. The agent
// compiles it once and hands the program to each PID 1 as bytes.
//
// The program searches the call's number in a tree. The kernel runs a filter
// once for every number there is when it is installed, so a list that is
// compared one by one costs every start of a container.
package filter
