package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/dea"
)

// stopTimeout leaves time for the ten seconds that an application may take
// after SIGTERM, and for the node to clear up.
const stopTimeout = 30 * time.Second

// askAgain is how often nodes are asked whether an instance is gone, should
// the event that says so be lost.
const askAgain = 2 * time.Second

type stopOptions struct {
	indices []int
	timeout time.Duration
}

func newStop(s *session) *cobra.Command {
	var o stopOptions
	cmd := &cobra.Command{
		Use:   "stop APP",
		Short: "Stop an application",
		Long: `Stop every instance of an application, or only those with the indices given, and
wait until they are gone. Each gets SIGTERM and, ten seconds later, SIGKILL.
APP is a name or an id.`,
		Example: exampleText("deacon stop hello", "deacon stop hello --index 2"),
		GroupID: groupApps,
		Args:    arguments(1, 1),
		RunE:    func(cmd *cobra.Command, args []string) error { return s.stop(cmd.Context(), args[0], o) },
	}
	cmd.Flags().IntSliceVar(&o.indices, "index", nil, "stop only these instances")
	cmd.Flags().DurationVar(&o.timeout, "timeout", stopTimeout, "how long to wait until they are gone")
	return cmd
}

func (s *session) stop(ctx context.Context, app string, o stopOptions) error {
	if o.timeout <= 0 {
		return fail(exitUsage, "", "--timeout %s: want a time such as 30s", o.timeout)
	}
	link, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer link.close()
	rows, err := link.rowsOf(ctx, app)
	if err != nil {
		return err
	}
	targets := slices.DeleteFunc(slices.Clone(rows), func(r row) bool {
		return !r.live() || len(o.indices) > 0 && !slices.Contains(o.indices, r.Index)
	})
	if len(targets) == 0 {
		return nothingToStop(rows, app, o.indices)
	}
	if err := link.stopAndWait(ctx, targets, o.timeout); err != nil {
		return err
	}
	return s.showStopped(targets)
}

func nothingToStop(rows []row, app string, indices []int) error {
	var states []string
	for _, r := range rows {
		states = append(states, fmt.Sprintf("index %d is %s", r.Index, r.State))
	}
	what := "no instance that runs"
	if len(indices) > 0 {
		what += " and has index " + strings.Trim(fmt.Sprint(indices), "[]")
	}
	return fail(exitNotFound, strings.Join(states, ", "), "%s has %s", plain(app), what)
}

func (s *session) showStopped(targets []row) error {
	if s.json {
		ids := make([]string, 0, len(targets))
		for _, r := range targets {
			ids = append(ids, r.Instance)
		}
		return json.NewEncoder(s.out).Encode(map[string]any{"stopped": ids})
	}
	for _, r := range targets {
		if _, err := fmt.Fprintf(s.out, "%s/%d is stopped\n", plain(r.title()), r.Index); err != nil {
			return err
		}
	}
	return nil
}

// stopAndWait asks for exactly the targets to be stopped, and returns when
// none of them is left.
func (l *link) stopAndWait(ctx context.Context, targets []row, timeout time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fail(exitTimeout,
		"see deacon ps; the node goes on stopping it", "it is not gone after %s", timeout))
	defer cancel()
	changes, err := l.listen(ctx, dea.SubjectInstance)
	if err != nil {
		return err
	}
	waiting := map[string]bool{}
	for _, r := range targets {
		waiting[r.Instance] = true
	}
	for _, application := range applications(targets) {
		filter := messaging.Filter{Application: application}
		for _, r := range targets {
			if r.Application == application {
				filter.Instances = append(filter.Instances, r.Instance)
			}
		}
		if err := l.send(ctx, messaging.StopInstances{Filter: filter}, ""); err != nil {
			return err
		}
	}
	return l.awaitGone(ctx, waiting, changes)
}

func (l *link) awaitGone(ctx context.Context, waiting map[string]bool, changes <-chan messaging.Event) error {
	again := time.NewTicker(askAgain)
	defer again.Stop()
	for len(waiting) > 0 {
		select {
		case event := <-changes:
			if c, ok := event.(messaging.InstanceChanged); ok && (c.To == messaging.Stopped || c.To == messaging.Crashed) {
				delete(waiting, c.Instance)
			}
		case <-again.C:
			rows, err := l.rows(ctx)
			if err != nil {
				return err
			}
			for id := range waiting {
				if !slices.ContainsFunc(rows, func(r row) bool { return r.Instance == id && r.live() }) {
					delete(waiting, id)
				}
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
