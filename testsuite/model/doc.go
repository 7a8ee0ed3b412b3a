// Package model is a stand-in for the machine and for everything else that the
// actors reach through their ports: a kernel in memory, a droplet cache, a
// store, a planner. It keeps the promises that the real ones make (every call
// may be repeated, a slot in use can't be used again) and says when somebody
// breaks the ones that it relies on.
//
// Applications do what their start command says: see Behaviour. Time is the
// caller's: in a testing/synctest bubble a whole life takes no time at all.
package model
