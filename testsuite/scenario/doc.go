// Package scenario holds scripts of what once went wrong, or must never: each
// *.txt is played on the simulated node (testsuite/sim), and what happens then is
// written below each order. A scenario fails when that becomes another.
//
//	go test ./testsuite/scenario -update     rewrites them: read the diff
package scenario
