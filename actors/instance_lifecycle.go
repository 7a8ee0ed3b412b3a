package actors

import (
	"fmt"

	"github.com/deacon-agent/deacon/messaging"
)

// verdict is what an actor does with an input that it gets in some state.
type verdict uint8

const (
	accept verdict = iota + 1 // take the transition
	ignore                    // already true, or too late to matter: not an error
	refuse                    // whoever asked is told why not
)

// instanceState is an instance's state; the wire's words are in its String.
type instanceState uint8

const (
	instanceBorn instanceState = iota
	instanceStarting
	instanceRunning
	instanceStopping
	instanceStopped
	instanceCrashed
	instanceStates
)

var stateWords = [instanceStates]messaging.State{
	messaging.Born, messaging.Starting, messaging.Running, messaging.Stopping, messaging.Stopped, messaging.Crashed,
}

func (s instanceState) word() messaging.State { return stateWords[s] }

// stateOf reads a state as a record has it; a word that no agent of this era
// writes is a record of somebody else's.
func stateOf(word messaging.State) (instanceState, bool) {
	for s, w := range stateWords {
		if w == word {
			return instanceState(s), true
		}
	}
	return 0, false
}

// instanceInput is everything that can happen to an instance.
type instanceInput uint8

const (
	inRoom      instanceInput = iota // room was promised
	inNoRoom                         // there is none
	inDroplet                        // the droplet is unpacked
	inUnfit                          // droplet, plan or container failed
	inActive                         // the container lives, with the application in it
	inHealthy                        // it accepts connections, or has none to accept
	inUnhealthy                      // its port did not open in time
	inOOM                            // the kernel killed one of its processes
	inExited                         // the application ended by itself
	inLost                           // the container is gone and nobody knows how
	inStop                           // ordered
	inHalted                         // every process is dead
	inDestroyed                      // the container is gone, as ordered
	instanceInputs
)

// instanceCell is one rule.
type instanceCell struct {
	verdict verdict
	to      instanceState
}

// instanceLifecycle is the whole machine (wire/dea.md b.1). In each state,
// each input leads where its cell says. No late answer of a start can turn an
// instance that was told to stop into a crashed one: wire/dea.md b.2's flaw.
var instanceLifecycle = [instanceStates][instanceInputs]instanceCell{
	instanceBorn: {
		inRoom: {accept, instanceStarting}, inNoRoom: {accept, instanceCrashed}, inStop: {accept, instanceStopped},
		inDroplet: {verdict: ignore}, inUnfit: {verdict: ignore}, inActive: {verdict: ignore},
		inHealthy: {verdict: ignore}, inUnhealthy: {verdict: ignore}, inOOM: {verdict: ignore},
		inExited: {verdict: ignore}, inLost: {verdict: ignore}, inHalted: {verdict: ignore}, inDestroyed: {verdict: ignore},
	},
	instanceStarting: {
		inRoom: {accept, instanceStarting}, inNoRoom: {accept, instanceCrashed},
		inDroplet: {accept, instanceStarting}, inUnfit: {accept, instanceCrashed},
		inActive: {accept, instanceStarting}, inHealthy: {accept, instanceRunning}, inUnhealthy: {accept, instanceCrashed},
		inOOM: {accept, instanceStarting}, inExited: {accept, instanceCrashed}, inLost: {accept, instanceCrashed},
		inStop: {accept, instanceStopping}, inHalted: {verdict: ignore}, inDestroyed: {verdict: ignore},
	},
	instanceRunning: {
		inRoom: {verdict: ignore}, inNoRoom: {verdict: ignore}, inDroplet: {verdict: ignore},
		inUnfit: {accept, instanceCrashed}, inActive: {accept, instanceRunning}, inHealthy: {verdict: ignore},
		inUnhealthy: {verdict: ignore}, inOOM: {accept, instanceRunning}, inExited: {accept, instanceCrashed},
		inLost: {accept, instanceCrashed}, inStop: {accept, instanceStopping},
		inHalted: {verdict: ignore}, inDestroyed: {verdict: ignore},
	},
	instanceStopping: {
		inRoom: {verdict: ignore}, inNoRoom: {verdict: ignore}, inDroplet: {verdict: ignore},
		inUnfit: {accept, instanceStopped}, inActive: {verdict: ignore}, inHealthy: {verdict: ignore},
		inUnhealthy: {verdict: ignore}, inOOM: {verdict: ignore}, inExited: {verdict: ignore},
		inLost: {accept, instanceStopped}, inStop: {verdict: ignore},
		inHalted: {accept, instanceStopped}, inDestroyed: {accept, instanceStopped},
	},
	instanceStopped: settled,
	instanceCrashed: settled,
}

// settled ignores everything: the instance only waits for its container to go.
var settled = func() (row [instanceInputs]instanceCell) {
	for in := range row {
		row[in] = instanceCell{verdict: ignore}
	}
	return row
}()

// nextInstance is pure: the caller acts on the verdict and keeps the new state.
func nextInstance(s instanceState, in instanceInput) (instanceState, verdict) {
	switch cell := instanceLifecycle[s][in]; cell.verdict {
	case accept:
		return cell.to, accept
	case ignore:
		return s, ignore
	default:
		panic(fmt.Sprintf("actors: an instance has no rule for input %d in state %d", in, s))
	}
}
