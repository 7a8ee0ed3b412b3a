package actors

import "fmt"

// containerState is a container's state, in Warden's words.
type containerState uint8

const (
	containerBorn     containerState = iota // nothing is known or nothing is there yet
	containerLiving                         // active: PID 1 answers
	containerStopping                       // its jobs are being ended
	containerStopped                        // no job runs any more
	containerEnded                          // every process is dead and mapped ports refuse
	containerStates
)

// containerInput is everything that can happen to a container.
type containerInput uint8

const (
	inFound    containerInput = iota // PID 1 answered
	inDead                           // PID 1 is dead, its folder is there
	inMissing                        // there is no such container
	inMade                           // created
	inFailed                         // could not be created; nothing is left
	inJobOver                        // the job ended
	inHalt                           // ordered: end the jobs
	inRemove                         // ordered: destroy
	inHaltDone                       // no job runs any more
	inGone                           // destroyed
	containerInputs
)

type containerCell struct {
	verdict verdict
	to      containerState
}

// containerLifecycle is the whole machine. A container that is told to stop
// while it is being made waits for what comes of the making.
var containerLifecycle = [containerStates][containerInputs]containerCell{
	containerBorn: {
		inFound: {accept, containerLiving}, inDead: {accept, containerStopped}, inMissing: {accept, containerEnded},
		inMade: {accept, containerLiving}, inFailed: {accept, containerEnded}, inJobOver: {verdict: ignore},
		inHalt: {accept, containerStopping}, inRemove: {accept, containerStopping},
		inHaltDone: {verdict: ignore}, inGone: {accept, containerEnded},
	},
	containerLiving: {
		inFound: {verdict: ignore}, inDead: {accept, containerStopped}, inMissing: {accept, containerEnded},
		inMade: {verdict: ignore}, inFailed: {verdict: ignore}, inJobOver: {accept, containerLiving},
		inHalt: {accept, containerStopping}, inRemove: {accept, containerStopping},
		inHaltDone: {verdict: ignore}, inGone: {accept, containerEnded},
	},
	containerStopping: {
		inFound: {accept, containerStopping}, inDead: {accept, containerStopped}, inMissing: {accept, containerEnded},
		inMade: {accept, containerStopping}, inFailed: {accept, containerEnded}, inJobOver: {accept, containerStopping},
		inHalt: {verdict: ignore}, inRemove: {accept, containerStopping},
		inHaltDone: {accept, containerStopped}, inGone: {accept, containerEnded},
	},
	containerStopped: {
		inFound: {verdict: ignore}, inDead: {verdict: ignore}, inMissing: {accept, containerEnded},
		inMade: {verdict: ignore}, inFailed: {verdict: ignore}, inJobOver: {accept, containerStopped},
		inHalt: {accept, containerStopped}, inRemove: {accept, containerStopped},
		inHaltDone: {verdict: ignore}, inGone: {accept, containerEnded},
	},
	containerEnded: {
		inFound: {verdict: ignore}, inDead: {verdict: ignore}, inMissing: {verdict: ignore},
		inMade: {verdict: ignore}, inFailed: {verdict: ignore}, inJobOver: {accept, containerEnded},
		inHalt: {accept, containerEnded}, inRemove: {accept, containerEnded},
		inHaltDone: {verdict: ignore}, inGone: {verdict: ignore},
	},
}

// nextContainer is pure: the caller acts on the verdict and keeps the new state.
func nextContainer(s containerState, in containerInput) (containerState, verdict) {
	switch cell := containerLifecycle[s][in]; cell.verdict {
	case accept:
		return cell.to, accept
	case ignore:
		return s, ignore
	default:
		panic(fmt.Sprintf("actors: a container has no rule for input %d in state %d", in, s))
	}
}
