package chaos

import (
	"fmt"

	"github.com/deacon-agent/deacon/isolation"
)

var initKilled = Fault{
	Name: "init-killed", Harm: One,
	Does:      "PID 1 of one container is killed, and with it everything inside",
	Heals:     "the instance is told as crashed; its controller starts another",
	Available: always,
	Inject: ofOne(func(n *Node, victim isolation.Status) (string, error) {
		return fmt.Sprintf("process %d", victim.InitPID), n.kill(victim.InitPID)
	}),
}
