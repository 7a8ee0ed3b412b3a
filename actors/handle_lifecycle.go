package actors

import (
	"fmt"
	"strings"
)

// handleState is a container's state as Warden's clients know it (wire/warden.md b).
type handleState uint8

const (
	handleBorn      handleState = iota // being made; no client can name it
	handleActive                       //
	handleStopped                      // from the beginning of a stop on
	handleDestroyed                    // no client can name it any more
	handleStates
)

var handleWords = [handleStates]string{"born", "active", "stopped", "destroyed"}

// handleInput is everything that a client can want of a container, and what
// becomes of it without being asked.
type handleInput uint8

const (
	inReady handleInput = iota // the container is there
	inUse                      // spawn, run, net_in, net_out, copy_in
	inLook                     // info, limits, copy_out
	inJoin                     // link, stream
	inEnd                      // stop; no memory was left; PID 1 died
	inTake                     // destroy; no client for as long as its grace time
	inTaken                    // nothing of it runs
	handleInputs
)

type handleCell struct {
	verdict verdict
	to      handleState
}

// handleLifecycle is the whole machine.
var handleLifecycle = [handleStates][handleInputs]handleCell{
	handleBorn: {
		inReady: {accept, handleActive}, inUse: {verdict: refuse}, inLook: {verdict: refuse}, inJoin: {verdict: refuse},
		inEnd: {accept, handleBorn}, inTake: {accept, handleBorn}, inTaken: {accept, handleDestroyed},
	},
	handleActive: {
		inReady: {verdict: ignore}, inUse: {accept, handleActive}, inLook: {accept, handleActive},
		inJoin: {accept, handleActive}, inEnd: {accept, handleStopped}, inTake: {accept, handleStopped},
		inTaken: {accept, handleDestroyed},
	},
	handleStopped: {
		inReady: {verdict: ignore}, inUse: {verdict: refuse}, inLook: {accept, handleStopped},
		inJoin: {accept, handleStopped}, inEnd: {accept, handleStopped}, inTake: {accept, handleStopped},
		inTaken: {accept, handleDestroyed},
	},
	handleDestroyed: {
		inReady: {verdict: ignore}, inUse: {verdict: refuse}, inLook: {verdict: refuse}, inJoin: {verdict: refuse},
		inEnd: {verdict: refuse}, inTake: {accept, handleDestroyed}, inTaken: {verdict: ignore},
	},
}

// nextHandle is pure: the caller acts on the verdict and keeps the new state.
func nextHandle(s handleState, in handleInput) (handleState, verdict) {
	switch cell := handleLifecycle[s][in]; cell.verdict {
	case accept:
		return cell.to, accept
	case ignore, refuse:
		return s, cell.verdict
	default:
		panic(fmt.Sprintf("actors: a handle has no rule for input %d in state %d", in, s))
	}
}

// refusedWords tell a client in which states it could have had what it wants.
// Only those count that a client can see.
func refusedWords(s handleState, in handleInput) string {
	var allowed []string
	for _, state := range []handleState{handleActive, handleStopped} {
		if handleLifecycle[state][in].verdict == accept {
			allowed = append(allowed, "'"+handleWords[state]+"'")
		}
	}
	return fmt.Sprintf("Container state must be one of %s, current state is '%s'",
		strings.Join(allowed, ", "), handleWords[s])
}
