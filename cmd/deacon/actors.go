package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/deacon-agent/deacon/messaging"
)

// watchEvery is between two looks of `deacon actors --watch`.
const watchEvery = time.Second

func newActors(s *session) *cobra.Command {
	var node string
	var watch bool
	cmd := &cobra.Command{
		Use:   "actors",
		Short: "Show the supervision tree of each node",
		Long: `Show the supervision tree of each node: every actor with how often it was
restarted and how many messages wait for it. Nobody in the tree is asked, so an
actor that is stuck shows as well, with its mailbox growing.

Whoever was restarted, waits for a restart, or has messages waiting is marked.`,
		Example: exampleText("deacon actors", "deacon actors --watch", "deacon actors --node node-7 --json"),
		GroupID: groupNode,
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			link, err := s.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer link.close()
			if watch && s.json {
				return fail(exitUsage, "leave one of the two out", "--watch is for people, --json for programs")
			}
			for {
				nodes, err := link.actors(cmd.Context(), node)
				if err != nil {
					return err
				}
				if err := s.showActors(nodes, watch); err != nil || !watch {
					return err
				}
				select {
				case <-time.After(watchEvery):
				case <-cmd.Context().Done():
					return nil // Ctrl-C is how one stops to watch
				}
			}
		},
	}
	cmd.Flags().StringVar(&node, "node", "", "one node only, by its id")
	toggle(cmd.Flags(), &watch, "watch", "w", "look again each second, until Ctrl-C")
	return cmd
}

// actors asks every node, and returns the answers of those asked for, by id. A node
// with many actors answers in several pieces.
func (l *link) actors(ctx context.Context, node string) ([]messaging.ActorsListed, error) {
	replies, err := l.ask(ctx, messaging.ListActors{})
	if err != nil {
		return nil, err
	}
	var nodes []messaging.ActorsListed
	for _, reply := range replies {
		list, ok := reply.(messaging.ActorsListed)
		if !ok || node != "" && list.NodeID != node {
			continue
		}
		at := slices.IndexFunc(nodes, func(n messaging.ActorsListed) bool { return n.NodeID == list.NodeID })
		if at < 0 {
			nodes = append(nodes, list)
		} else {
			nodes[at].Actors = append(nodes[at].Actors, list.Actors...)
		}
	}
	if len(nodes) == 0 {
		return nil, noNode(node)
	}
	slices.SortFunc(nodes, func(a, b messaging.ActorsListed) int { return cmp.Compare(a.NodeID, b.NodeID) })
	for _, n := range nodes {
		slices.SortFunc(n.Actors, func(a, b messaging.ActorRow) int { return comparePaths(a.Path, b.Path) })
	}
	return nodes, nil
}

func noNode(node string) error {
	if node != "" {
		return fail(exitNotFound, "see the ids with deacon actors", "no node %q answered", plain(node))
	}
	return fail(exitUnreachable, "start a node with deacon dev or deacon agent", "NATS is reached, but no node answered")
}

// comparePaths puts each actor below its parent.
func comparePaths(a, b string) int {
	return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
}

// actorJSON is an actor as programs get it; its keys are a contract.
type actorJSON struct {
	Path     string `json:"path"`
	Kind     string `json:"kind"`
	Restarts int    `json:"restarts"`
	Mailbox  int    `json:"mailbox"`
	Failed   bool   `json:"failed"` // waits for its restart
}

func (s *session) showActors(nodes []messaging.ActorsListed, watch bool) error {
	if s.json {
		shown := []any{}
		for _, n := range nodes {
			actors := make([]actorJSON, 0, len(n.Actors))
			for _, a := range n.Actors {
				actors = append(actors, actorJSON{a.Path, a.Kind, restartsOf(a), a.Mailbox, a.Failed})
			}
			shown = append(shown, map[string]any{"node": n.NodeID, "actors": actors})
		}
		return json.NewEncoder(s.out).Encode(map[string]any{"nodes": shown})
	}
	var out strings.Builder
	if watch {
		out.WriteString("\x1b[H\x1b[2J") // from the top of an empty screen
	}
	for _, n := range nodes {
		printActors(&out, n)
	}
	_, err := io.WriteString(s.out, out.String())
	return err
}

func restartsOf(a messaging.ActorRow) int { return max(0, a.Incarnation-1) }

func printActors(out io.Writer, n messaging.ActorsListed) {
	restarts, waiting, width := 0, 0, len("ACTOR")
	for _, a := range n.Actors {
		restarts, waiting = restarts+restartsOf(a), waiting+a.Mailbox
		width = max(width, len(treeName(a)))
	}
	fmt.Fprintf(out, "node %s: %d actors, %d restarts, %d messages wait\n",
		plain(n.NodeID), len(n.Actors), restarts, waiting)
	fmt.Fprintf(out, "  %-*s  %-12s  %8s  %7s\n", width, "ACTOR", "KIND", "RESTARTS", "MAILBOX")
	for _, a := range n.Actors {
		mark, note := " ", ""
		if restartsOf(a) > 0 || a.Mailbox > 0 {
			mark = "*"
		}
		if a.Failed {
			mark, note = "!", "  waits for its restart"
		}
		fmt.Fprintf(out, "%s %-*s  %-12s  %8d  %7d%s\n",
			mark, width, treeName(a), plain(a.Kind), restartsOf(a), a.Mailbox, note)
	}
}

// treeName is the actor's own name, as far to the right as it is deep.
func treeName(a messaging.ActorRow) string {
	names := strings.Split(a.Path, "/")
	return strings.Repeat("  ", len(names)-1) + plain(names[len(names)-1])
}
