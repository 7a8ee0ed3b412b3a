package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/deacon-agent/deacon/messaging"
)

func newNodes(s *session) *cobra.Command {
	return &cobra.Command{
		Use:   "nodes",
		Short: "Show the nodes, and what they have promised",
		Long: `Show every node that answers: where it is, how many instances live on it, how much of
its memory and disk is promised to them, and how long its agent has been up. A node
that is EVACUATING takes nothing new. One that doesn't answer isn't shown.`,
		Example: exampleText("deacon nodes", "deacon nodes --json"),
		GroupID: groupApps,
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			link, err := s.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer link.close()
			nodes, err := link.usage(cmd.Context())
			if err != nil {
				return err
			}
			return s.showNodes(nodes)
		},
	}
}

// usage asks every node. One with many instances answers in several pieces.
func (l *link) usage(ctx context.Context) ([]messaging.UsageDescribed, error) {
	replies, err := l.ask(ctx, messaging.DescribeUsage{})
	if err != nil {
		return nil, err
	}
	byNode := map[string]*messaging.UsageDescribed{}
	for _, reply := range replies {
		u, ok := reply.(messaging.UsageDescribed)
		if !ok {
			continue
		}
		if before := byNode[u.Node.ID]; before != nil {
			before.Instances = append(before.Instances, u.Instances...)
		} else {
			byNode[u.Node.ID] = &u
		}
	}
	var nodes []messaging.UsageDescribed
	for _, u := range byNode {
		nodes = append(nodes, *u)
	}
	if len(nodes) == 0 {
		return nil, fail(exitUnreachable, "start a node with deacon dev or deacon agent",
			"NATS is reached, but no node answered")
	}
	slices.SortFunc(nodes, func(a, b messaging.UsageDescribed) int {
		return cmp.Or(strings.Compare(a.Zone, b.Zone), strings.Compare(a.Node.ID, b.Node.ID))
	})
	return nodes, nil
}

// nodeJSON is a node as programs get it; its keys are a contract.
type nodeJSON struct {
	Node      string      `json:"node"`
	Zone      string      `json:"zone"`
	Version   string      `json:"version"`
	Address   string      `json:"address"`
	State     string      `json:"state"`
	Since     time.Time   `json:"since"`
	Instances int         `json:"instances"`
	Memory    accountJSON `json:"memory_mib"`
	Disk      accountJSON `json:"disk_mib"`
}

type accountJSON struct {
	Capacity int64 `json:"capacity"`
	Promised int64 `json:"promised"`
}

func (s *session) showNodes(nodes []messaging.UsageDescribed) error {
	if !s.json {
		return printNodes(s.out, nodes, time.Now())
	}
	shown := make([]nodeJSON, 0, len(nodes))
	for _, n := range nodes {
		shown = append(shown, nodeJSON{
			n.Node.ID, n.Zone, n.Node.Version, n.Node.Address.String(), stateOf(n), n.Since, living(n),
			accountJSON(n.Memory), accountJSON(n.Disk),
		})
	}
	return json.NewEncoder(s.out).Encode(map[string]any{"nodes": shown})
}

func printNodes(w io.Writer, nodes []messaging.UsageDescribed, now time.Time) error {
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "NODE\tZONE\tSTATE\tINSTANCES\tMEMORY\tDISK\tUP\tADDRESS\tVERSION")
	for _, n := range nodes {
		fmt.Fprintln(table, strings.Join([]string{
			plain(n.Node.ID), orDash(plain(n.Zone)), stateOf(n), strconv.Itoa(living(n)), promised(n.Memory), promised(n.Disk),
			since(n.Since, now), n.Node.Address.String(), plain(n.Node.Version),
		}, "\t"))
	}
	return table.Flush()
}

func stateOf(n messaging.UsageDescribed) string {
	if n.Evacuating {
		return string(messaging.Evacuating)
	}
	return string(messaging.Running)
}

// living counts the instances that are not over.
func living(n messaging.UsageDescribed) (count int) {
	for _, i := range n.Instances {
		if i.State != messaging.Stopped && i.State != messaging.Crashed {
			count++
		}
	}
	return count
}

// promised says how much of what there is, in the unit that a person reads best.
func promised(a messaging.Account) string {
	return bytesText(a.Promised<<20) + " of " + bytesText(a.Capacity<<20)
}

// bytesText is a size with three digits at most.
func bytesText(n int64) string {
	units := []string{"B", "K", "M", "G", "T", "P"}
	value, unit := float64(n), 0
	for value >= 999.5 && unit < len(units)-1 {
		value /= 1024
		unit++
	}
	if unit == 0 || value >= 9.95 {
		return fmt.Sprintf("%.0f%s", value, units[unit])
	}
	return fmt.Sprintf("%.1f%s", value, units[unit])
}
