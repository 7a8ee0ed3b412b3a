package chaos

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

var agentKilled = Fault{
	Name: "agent-killed", Harm: Nobody, Silences: true, Shows: 5 * time.Second,
	Does:      "the agent is killed (SIGKILL)",
	Heals:     "whoever supervises the agent starts it again, and it adopts what runs",
	Available: whereSupervised,
	Inject: func(context.Context, *Node, Order) (Injection, error) {
		return Injection{Begin: killAgent}, nil
	},
}

func killAgent() {
	_ = unix.Kill(os.Getpid(), unix.SIGKILL) // there is nobody to tell of an error
}

// AgentStopped is done from outside, by who runs deacon chaos on the same
// machine: an agent that is stopped can't set itself going again.
var AgentStopped = Fault{
	Name: "agent-stopped", Harm: Nobody, For: 5 * time.Second, Silences: true,
	Does:  "the agent is stopped (SIGSTOP), as a debugger or a frozen machine would",
	Heals: "it is continued (SIGCONT)",
	Available: func(*Node) error {
		return errors.New("only deacon chaos on the same machine, as root, can stop and continue an agent")
	},
	Inject: func(context.Context, *Node, Order) (Injection, error) {
		return Injection{}, errors.New("an agent can't stop itself")
	},
}
