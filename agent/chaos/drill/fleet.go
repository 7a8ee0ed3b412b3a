package drill

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/deacon-agent/deacon/agent/chaos"
	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/bus"
	"github.com/deacon-agent/deacon/messaging/dea"
)

// askMax bounds a question to one node.
const askMax = 5 * time.Second

// Fleet is the nodes, as anybody sees them who reaches NATS.
type Fleet struct {
	Client   *bus.Client
	patience time.Duration // with one node's answer; zero: askMax
}

// Nodes are the ids of those that answer.
func (f Fleet) Nodes(ctx context.Context) ([]string, error) {
	lists, err := f.instances(ctx)
	if err != nil {
		return nil, err
	}
	var nodes []string
	for _, list := range lists {
		if !slices.Contains(nodes, list.NodeID) {
			nodes = append(nodes, list.NodeID)
		}
	}
	slices.Sort(nodes)
	return nodes, nil
}

// instances asks every node what it runs.
func (f Fleet) instances(ctx context.Context) ([]messaging.InstancesListed, error) {
	replies, err := f.Client.RequestMany(ctx, dea.SubjectPS, []byte("{}"))
	if err != nil {
		return nil, fmt.Errorf("drill: ask the nodes: %w", err)
	}
	var lists []messaging.InstancesListed
	for _, reply := range replies {
		event, err := dea.DecodeReply(dea.SubjectPS, reply)
		if list, ok := event.(messaging.InstancesListed); err == nil && ok {
			lists = append(lists, list)
		}
	}
	return lists, nil
}

// Listing asks a node what can be done to it.
func (f Fleet) Listing(ctx context.Context, node string) (chaos.Listing, error) {
	var listing chaos.Listing
	if err := f.ask(ctx, address{node, chaos.VerbList}, struct{}{}, &listing); err != nil {
		return listing, err
	}
	if err := sameMachine(listing); err == nil {
		for i, offer := range listing.Faults {
			if offer.Name == chaos.AgentStopped.Name {
				listing.Faults[i].Available, listing.Faults[i].Why = true, ""
			}
		}
	}
	return listing, nil
}

// address is whom a question is put to, and which.
type address struct{ node, verb string }

func (f Fleet) ask(ctx context.Context, to address, question, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(f.patience, askMax))
	defer cancel()
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	body, err = f.Client.Ask(ctx, dea.ChaosSubject(to.node, to.verb), body)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return fmt.Errorf("drill: node %s answers %s with something else: %w", to.node, to.verb, err)
	}
	return nil
}

// sameMachine says why a node's agent can't be reached as a process from here.
func sameMachine(l chaos.Listing) error {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return err
	}
	pids, err := os.Readlink("/proc/self/ns/pid")
	switch {
	case err != nil:
		return err
	case strings.TrimSpace(string(boot)) != l.Boot || pids != l.PIDs:
		return errors.New("the node is on another machine")
	case os.Geteuid() != 0:
		return errors.New("only root can stop and continue an agent")
	}
	return nil
}
