package actors

import (
	"testing"

	"github.com/deacon-agent/deacon/messaging"
)

// Every cell of every table has a rule: an empty one panics.
func TestLifecyclesAreTotal(t *testing.T) {
	for s := range instanceStates {
		for in := range instanceInputs {
			if to, v := nextInstance(s, in); v == ignore && to != s {
				t.Errorf("instance: input %d is ignored in state %d and still leads to %d", in, s, to)
			}
		}
	}
	for s := range containerStates {
		for in := range containerInputs {
			if to, _ := nextContainer(s, in); s == containerEnded && to != containerEnded {
				t.Errorf("container: input %d revives it from its end to state %d", in, to)
			}
		}
	}
	for s := range allocationStates {
		for in := range allocationInputs {
			if to, _ := nextAllocation(s, in); to < s {
				t.Errorf("allocation: input %d leads back from state %d to %d", in, s, to)
			}
		}
	}
	for s := range handleStates {
		for in := range handleInputs {
			if to, _ := nextHandle(s, in); to < s {
				t.Errorf("handle: input %d leads back from state %d to %d", in, s, to)
			}
		}
	}
}

// A client reads in which states it could have had what it wants, and can be in
// no other (wire/warden.md a).
func TestARefusalNamesTheStates(t *testing.T) {
	for _, c := range []struct {
		state handleState
		in    handleInput
		want  string
	}{
		{handleStopped, inUse, "Container state must be one of 'active', current state is 'stopped'"},
		{handleDestroyed, inLook, "Container state must be one of 'active', 'stopped', current state is 'destroyed'"},
		{handleBorn, inUse, "Container state must be one of 'active', current state is 'born'"},
	} {
		if got := refusedWords(c.state, c.in); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// Whatever came before, a stop and then the end of the processes is rest, and
// after a stop nothing makes a crash of it. The space is small, so every
// history is tried rather than a sample.
func TestAStoppedInstanceNeverCrashes(t *testing.T) {
	const depth = 5
	var walk func(s instanceState, stopped bool, left int)
	walk = func(s instanceState, stopped bool, left int) {
		if stopped && s == instanceCrashed {
			t.Fatal("an instance that was told to stop crashed")
		}
		end, _ := nextInstance(s, inStop)
		end, _ = nextInstance(end, inHalted)
		if end != instanceStopped && end != instanceCrashed {
			t.Fatalf("from state %d: a stop and the end of the processes lead to %d", s, end)
		}
		if left == 0 {
			return
		}
		for in := range instanceInputs {
			to, _ := nextInstance(s, in)
			walk(to, stopped || in == inStop && s != instanceCrashed, left-1)
		}
	}
	walk(instanceBorn, false, depth)
}

func TestARecordsStateIsReadAsItWasWritten(t *testing.T) {
	for s := range instanceStates {
		if got, ok := stateOf(s.word()); !ok || got != s {
			t.Errorf("state %d is written %q and read as %d", s, s.word(), got)
		}
	}
	if _, ok := stateOf(messaging.State("RESTING")); ok {
		t.Error("an unknown word was read as a state")
	}
}
