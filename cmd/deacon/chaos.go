package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/deacon-agent/deacon/agent/chaos"
	"github.com/deacon-agent/deacon/agent/chaos/drill"
	"github.com/deacon-agent/deacon/messaging/bus"
)

func newChaos(s *session) *cobra.Command {
	group := &cobra.Command{
		Use:   "chaos",
		Short: "Harm nodes on purpose, and see that nothing is lost by it",
		Long: `Test nodes by harming them: processes are killed, NATS is cut off, disks fill up,
links vanish, while every application is asked all the time. In the end it says
what was noticed of it, and by whom.

A node takes part only where its configuration says

    chaos {
      allow = true
    }

and every fault ends by itself, even if this command is killed.`,
		GroupID: groupNode,
		Args:    oneOfItsCommands,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, cmd := range []*cobra.Command{newChaosList(s), newChaosRun(s)} {
		s.nats.register(cmd.Flags())
		group.AddCommand(cmd)
	}
	group.AddCommand(newChaosResume())
	return group
}

func newChaosList(s *session) *cobra.Command {
	var nodes []string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show what can be done to each node, and what can't and why",
		Long: `Show every fault, whom it may harm, how long it lasts where a scenario says
nothing, and whether it can be done to the node; where it can't, the reason.`,
		Example: exampleText("deacon chaos list", "deacon chaos list --node node-7", "deacon chaos list --json"),
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			link, err := s.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer link.close()
			fleet := drill.Fleet{Client: link.client}
			if len(nodes) == 0 {
				if nodes, err = link.everyNode(cmd.Context(), fleet); err != nil {
					return err
				}
			}
			return s.listFaults(cmd.Context(), fleet, nodes)
		},
	}
	cmd.Flags().StringSliceVar(&nodes, "node", nil, "only these nodes, by id (default all that answer)")
	return cmd
}

func (l *link) everyNode(ctx context.Context, fleet drill.Fleet) ([]string, error) {
	nodes, err := fleet.Nodes(ctx)
	if err != nil {
		return nil, lost(ctx, "%w", err)
	}
	if len(nodes) == 0 {
		return nil, fail(exitUnreachable, "start a node with deacon dev or deacon agent",
			"NATS is reached, but no node answered")
	}
	return nodes, nil
}

// listFaults shows every node, those that refuse with their reason.
func (s *session) listFaults(ctx context.Context, fleet drill.Fleet, nodes []string) error {
	var listings []chaos.Listing
	var refused error
	for _, node := range nodes {
		listing, err := fleet.Listing(ctx, node)
		if err != nil {
			refused = errors.Join(refused, refusedBy(node, err))
			continue
		}
		listings = append(listings, listing)
	}
	if len(listings) == 0 {
		return refused
	}
	if refused != nil {
		s.note("warning: %v", refused)
	}
	if s.json {
		return json.NewEncoder(s.out).Encode(map[string]any{"nodes": listings})
	}
	table := tabwriter.NewWriter(s.out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "NODE\tFAULT\tHARMS\tFOR\tAVAILABLE\tWHAT")
	for _, listing := range listings {
		for _, f := range listing.Faults {
			lasts, available, what := "-", "yes", f.Does
			if f.For != 0 {
				lasts = f.For.String()
			}
			if !f.Available {
				available, what = "no", f.Why
			}
			fmt.Fprintln(table, strings.Join([]string{plain(listing.Node), f.Name, string(f.Harms), lasts, available,
				plain(what)}, "\t"))
		}
	}
	return table.Flush()
}

func refusedBy(node string, err error) error {
	refused, ok := errors.AsType[*bus.RefusedError](err)
	switch {
	case ok && refused.Code == chaos.CodeNotAllowed:
		return fail(exitFailed, "put chaos { allow = true } into the node's configuration and start its agent again",
			"node %s doesn't allow chaos", node)
	case errors.Is(err, bus.ErrNobody):
		return fail(exitUnreachable, "deacon chaos list shows the nodes that answer",
			"there is no node %s, or its agent is too old for chaos", node)
	}
	return fail(exitUnreachable, "", "node %s: %w", node, err)
}
