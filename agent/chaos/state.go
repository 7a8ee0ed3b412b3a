package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// specFile is a container's intent record, below its folder.
const specFile = "spec"

var stateTruncated = Fault{
	Name: "state-truncated", Harm: One, Silences: true, Shows: 10 * time.Second,
	Does: "the record of one container is cut in half on disk, and the agent is killed, " +
		"so that the next one reads it",
	Heals:     "the next agent notices the damage and ends what it can't know; the instance's controller starts another",
	Available: whereSupervised,
	Inject: func(ctx context.Context, n *Node, o Order) (Injection, error) {
		return n.damage(ctx, o, func(body []byte) []byte { return body[:len(body)/2] })
	},
}

var stateFlipped = Fault{
	Name: "state-flipped", Harm: One, Silences: true, Shows: 10 * time.Second,
	Does: "one bit of the record of one container is flipped on disk, and the agent is killed, " +
		"so that the next one reads it",
	Heals:     "the next agent notices the damage and ends what it can't know; the instance's controller starts another",
	Available: whereSupervised,
	Inject: func(ctx context.Context, n *Node, o Order) (Injection, error) {
		return n.damage(ctx, o, func(body []byte) []byte {
			bit := random(o.Seed).IntN(8 * len(body))
			body[bit/8] ^= 1 << (bit % 8)
			return body
		})
	},
}

// damage changes a record in the moment in which the agent dies: a living one
// would write it again.
func (n *Node) damage(ctx context.Context, o Order, change func([]byte) []byte) (Injection, error) {
	status, err := n.victim(ctx, o)
	if err != nil {
		return Injection{}, err
	}
	name := filepath.Join(n.State, "containers", status.Spec.ID, specFile)
	body, err := os.ReadFile(name)
	if err != nil {
		return Injection{}, err
	}
	if len(body) == 0 {
		return Injection{}, fmt.Errorf("%s is empty", name)
	}
	body = change(body)
	begin := func() {
		if err := overwrite(name, body); err != nil {
			n.Log.Error("a record could not be damaged", "file", name, "error", err)
			return
		}
		killAgent()
	}
	note := filepath.Join("containers", status.Spec.ID, specFile)
	return Injection{Victim: victimOf(status), Note: note, Begin: begin}, nil
}

// overwrite changes a file that is there; one whose container is gone by now
// must not come back.
func overwrite(name string, body []byte) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = file.Write(body)
	return errors.Join(err, file.Close())
}
