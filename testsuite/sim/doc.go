// Package sim plays the life of a whole node from a seed: the real actor tree,
// one message at a time in an order that the seed draws, on the model machine
// (testsuite/model) and in virtual time, beside a controller and Warden clients
// that ask for everything there is. The same seed plays the same history.
//
//	seed ─▶ Plan: which faults exist in this run, how often, and what is asked
//	Play:  under fire, watched after every step ─▶ healed ─▶ all that was asked
//	       must come true within a bound, and then nothing may be left
//
// A call that blocks in the real world is a strand here: it stands still until
// what it waits for is there, and nothing else in the process runs meanwhile.
//
//	go test ./testsuite/sim -run TestSeeds -sim.seed=17 -sim.rate=0.5 -sim.trace
package sim
