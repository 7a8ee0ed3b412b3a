package chaos

import (
	"fmt"
	"time"

	"github.com/deacon-agent/deacon/isolation"
)

// killShows is how long a killed process may still be seen to answer.
const killShows = time.Second

var initKilled = Fault{
	Name: "init-killed", Harm: One, Shows: killShows,
	Does:      "PID 1 of one container is killed, and with it everything inside",
	Heals:     "the instance is told as crashed; its controller starts another",
	Available: always,
	Inject: ofOne(func(n *Node, victim isolation.Status) (string, error) {
		return fmt.Sprintf("process %d", victim.InitPID), n.kill(victim.InitPID)
	}),
}
