package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/bus"
	"github.com/deacon-agent/deacon/messaging/dea"
)

type evacuateOptions struct {
	within time.Duration
	follow bool
}

func newEvacuate(s *session) *cobra.Command {
	var o evacuateOptions
	cmd := &cobra.Command{
		Use:   "evacuate NODE",
		Short: "Hand over what a node runs, and end its agent",
		Long: `Have others take over what a node runs, and its agent end. The node takes nothing
new. What it runs goes on, and is told to be EVACUATING, until the controller has
started it elsewhere and stops it here; when nothing is left, or the time is over,
the node shuts down. It can't be taken back: start the agent again once it has ended.

With --follow it shows what becomes of the instances until the node is left. The
evacuation goes on whether or not anybody follows.`,
		Example: exampleText("deacon evacuate 0-5f6d1c7a", "deacon evacuate 0-5f6d1c7a --within 1h --follow"),
		GroupID: groupApps,
		Args:    arguments(1, 1),
		RunE:    func(cmd *cobra.Command, args []string) error { return s.evacuate(cmd.Context(), args[0], o) },
	}
	cmd.Flags().DurationVar(&o.within, "within", 0, "then the node stops what is left; 0: as the node is configured")
	toggle(cmd.Flags(), &o.follow, "follow", "f", "show what becomes of it, until the node is left")
	return cmd
}

func (s *session) evacuate(ctx context.Context, node string, o evacuateOptions) error {
	if o.within < 0 || o.within > 0 && o.within < time.Second {
		return fail(exitUsage, "", "--within %s: want a time of a second or more, or 0", o.within)
	}
	link, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer link.close()
	changes, err := link.listen(ctx, dea.SubjectInstance)
	if err != nil {
		return err
	}
	titles := map[string]string{}
	if o.follow { // by the time that they end nobody knows their names any more
		rows, err := link.rows(ctx)
		if err != nil {
			return err
		}
		for _, r := range rows {
			titles[r.Application] = r.title()
		}
	}
	answer, err := link.evacuate(ctx, node, o.within)
	if err != nil {
		return err
	}
	if err := s.showEvacuating(answer); err != nil || !o.follow {
		return err
	}
	show := func(c messaging.InstanceChanged) error { return s.showEnd(c, titles[c.Application]) }
	return s.followEvacuation(ctx, link, node, follower{changes, show})
}

// follower hears of changes and shows those that end an instance.
type follower struct {
	changes <-chan messaging.Event
	show    func(messaging.InstanceChanged) error
}

// evacuate tells the one node, which answers.
func (l *link) evacuate(
	ctx context.Context, node string, within time.Duration,
) (e messaging.NodeEvacuating, err error) {
	subject, body, err := dea.EncodeCommand(messaging.EvacuateNode{Within: within}, node)
	if err != nil {
		return e, fail(exitUsage, "see deacon ps for the nodes", "%w", err)
	}
	asked, cancel := context.WithTimeout(ctx, connectMax)
	defer cancel()
	reply, err := l.client.Ask(asked, subject, body)
	if errors.Is(err, bus.ErrNobody) {
		return e, l.noSuchNode(ctx, node)
	}
	if err != nil {
		return e, lost(ctx, "ask the node: %w", err)
	}
	event, err := dea.DecodeReply(subject, reply)
	if err != nil {
		return e, fmt.Errorf("the node's answer can't be read: %w", err)
	}
	e, _ = event.(messaging.NodeEvacuating)
	return e, nil
}

// noSuchNode says which there are.
func (l *link) noSuchNode(ctx context.Context, node string) error {
	nodes, _, err := l.nodesAndRows(ctx)
	if err != nil {
		return err
	}
	return fail(exitNotFound, "there is "+strings.Join(nodes, ", "), "there is no node %q", node)
}

func (s *session) showEvacuating(e messaging.NodeEvacuating) error {
	if s.json {
		return json.NewEncoder(s.out).Encode(map[string]any{"node": e.NodeID, "instances": e.Instances, "by": e.By})
	}
	_, err := fmt.Fprintf(s.out, "%s is evacuated: %s until they run elsewhere, or until %s\n",
		plain(e.NodeID), goOn(e.Instances), e.By.Local().Format("2006-01-02 15:04:05"))
	return err
}

func goOn(instances int) string {
	if instances == 1 {
		return "1 instance runs on"
	}
	return fmt.Sprintf("%d instances run on", instances)
}

// followEvacuation shows each end, until the node has nothing that lives, or answers
// no more.
func (s *session) followEvacuation(ctx context.Context, l *link, node string, f follower) error {
	again := time.NewTicker(askAgain)
	defer again.Stop()
	for {
		select {
		case event := <-f.changes:
			c, is := event.(messaging.InstanceChanged)
			if !is || c.NodeID != node || c.To != messaging.Stopped && c.To != messaging.Crashed {
				continue
			}
			if err := f.show(c); err != nil {
				return err
			}
		case <-again.C:
			nodes, rows, err := l.nodesAndRows(ctx)
			if err != nil && asFailure(err, true).code != exitUnreachable {
				return err
			}
			runs := func(r row) bool { return r.node == node && r.live() }
			if !slices.Contains(nodes, node) || !slices.ContainsFunc(rows, runs) {
				s.note("%s is left", plain(node))
				return nil
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *session) showEnd(c messaging.InstanceChanged, title string) error {
	if s.json {
		return json.NewEncoder(s.out).Encode(map[string]any{
			"application": c.Application, "index": c.Index, "instance": c.Instance, "state": c.To,
		})
	}
	state := strings.ToLower(string(c.To))
	_, err := fmt.Fprintf(s.out, "%s/%d is %s\n", plain(cmp.Or(title, c.Application)), c.Index, state)
	return err
}
