package chaos

import (
	"context"
	"fmt"
)

var initKilled = Fault{
	Name: "init-killed", Harm: One,
	Does:      "PID 1 of one container is killed, and with it everything inside",
	Heals:     "the instance is told as crashed; its controller starts another",
	Available: always,
	Inject: func(ctx context.Context, n *Node, o Order) (Injection, error) {
		status, err := n.victim(ctx, o)
		if err != nil {
			return Injection{}, err
		}
		note := fmt.Sprintf("process %d", status.InitPID)
		return Injection{Victim: victimOf(status), Note: note}, n.kill(status.InitPID)
	},
}
