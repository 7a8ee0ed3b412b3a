package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/deacon-agent/deacon/agent/chaos"
	"github.com/deacon-agent/deacon/agent/chaos/drill"
	"github.com/deacon-agent/deacon/agent/settings"
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

type chaosOptions struct {
	nodes  []string
	seed   string
	report string
	data   string
}

func newChaosRun(s *session) *cobra.Command {
	var o chaosOptions
	cmd := &cobra.Command{
		Use:   "run SCENARIO",
		Short: "Play a scenario of faults and judge the nodes by it",
		Long: `Play a scenario: a file that says what is done to the nodes, drawn by chance or at
given times, and how the applications on them are asked meanwhile. At the end
everything is healed, and then

  - every request outside of the window of a fault that may harm its target must
    have been answered,
  - every crash must be explained by a fault, and told as an exit,
  - everything that should run must run and answer, and nothing more than before
    may be there: no group, link, descriptor, container.

It ends with 0 if all of that holds, and with 1 and what was found if not. With
--report it writes a page for people and the same as JSON. The same seed gives
the same faults in the same order.

Ctrl-C ends it early; what was done is taken back.`,
		Example: exampleText("deacon chaos run examples/chaos/first.hcl",
			"deacon chaos run night.hcl --node node-7 --seed 42 --report ./night",
			"deacon chaos run night.hcl --json-file result.json"),
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error { return s.chaosRun(cmd.Context(), args[0], o) },
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&o.nodes, "node", nil, "nodes to harm, by id (default the one there is)")
	flags.StringVar(&o.seed, "seed", "", "what chance decides by (default the scenario's, or drawn)")
	flags.StringVar(&o.report, "report", "", "folder for the report: a page and JSON")
	flags.StringVar(&o.data, "json-file", "", "file for the report's JSON alone")
	return cmd
}

func (s *session) chaosRun(ctx context.Context, file string, o chaosOptions) error {
	scenario, err := loadScenario(file)
	if err != nil {
		return err
	}
	seed, err := chooseSeed(o.seed, scenario.Seed)
	if err != nil {
		return err
	}
	link, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer link.close()
	fleet := drill.Fleet{Client: link.client}
	if o.nodes, err = link.chooseNode(ctx, fleet, o.nodes); err != nil {
		return err
	}
	for _, node := range o.nodes {
		if _, err := fleet.Listing(ctx, node); err != nil {
			return refusedBy(node, err)
		}
	}
	d := drill.Drill{
		Scenario: scenario, Seed: seed, Nodes: o.nodes, Fleet: fleet, Note: s.note, ResumeLater: resumeLater,
		Replay: fmt.Sprintf("deacon chaos run %s --node %s --seed %d", quoteWord(file), strings.Join(o.nodes, ","), seed),
	}
	report, err := d.Run(ctx)
	if !report.Began.IsZero() {
		err = errors.Join(err, s.saveReport(report, o))
	}
	if err != nil {
		return err
	}
	return s.verdict(report)
}

func loadScenario(file string) (drill.Scenario, error) {
	scenario, err := drill.LoadScenario(file)
	if _, invalid := errors.AsType[*settings.Error](err); invalid {
		return scenario, fail(exitConfig, "docs/chaos.md describes scenarios", "the scenario is invalid: %w", err)
	}
	if err != nil {
		return scenario, fail(exitNotFound, "examples/chaos has scenarios to begin with", "%w", err)
	}
	return scenario, nil
}

// chooseSeed is the command line's, or the scenario's, or drawn.
func chooseSeed(given string, scenarios uint64) (uint64, error) {
	if given != "" {
		seed, err := strconv.ParseUint(given, 10, 64)
		if err != nil {
			return 0, fail(exitUsage, "", "--seed %s: want a whole number", given)
		}
		return seed, nil
	}
	if scenarios != 0 {
		return scenarios, nil
	}
	var b [4]byte // short enough to be typed
	rand.Read(b[:])
	return uint64(binary.BigEndian.Uint32(b[:])), nil
}

// chooseNode is for who names none: the one there is. Nobody harms several by
// forgetting a flag.
func (l *link) chooseNode(ctx context.Context, fleet drill.Fleet, given []string) ([]string, error) {
	if len(given) > 0 {
		return slices.Compact(slices.Sorted(slices.Values(given))), nil
	}
	nodes, err := l.everyNode(ctx, fleet)
	if err == nil && len(nodes) > 1 {
		err = fail(exitUsage, "say which, as in --node "+nodes[0]+" or --node "+strings.Join(nodes[:2], ","),
			"there are %d nodes: %s", len(nodes), strings.Join(nodes, ", "))
	}
	return nodes, err
}

func (s *session) saveReport(report drill.Report, o chaosOptions) (err error) {
	if o.report != "" {
		err = report.Save(o.report)
		if err == nil {
			s.note("the report is %s/%s", o.report, drill.PageName)
		}
	}
	if o.data != "" {
		err = errors.Join(err, report.SaveData(o.data))
	}
	return err
}

// verdict says what came of it, and is an error where the nodes did not stand it.
func (s *session) verdict(report drill.Report) error {
	if s.json {
		if err := json.NewEncoder(s.out).Encode(report); err != nil {
			return err
		}
	} else {
		q := report.Requests
		fmt.Fprintf(s.out, "%d faults in %s, %d crashes, %d requests: %d answered, %d not; in windows of faults %d and %d\n",
			len(report.Faults), report.Lasted, report.Crashes, q.Answered+q.Unanswered+q.WindowAnswered+q.WindowFailed,
			q.Answered, q.Unanswered, q.WindowAnswered, q.WindowFailed)
		for _, f := range report.Findings {
			fmt.Fprintf(s.out, "found: %s  %s\n", f.At.Format("15:04:05"), plain(f.Text))
		}
	}
	if !report.Passed {
		return fail(exitFailed, "again: "+report.Replay, "the nodes did not stand it: %d findings", len(report.Findings))
	}
	s.note("the nodes stood it")
	return nil
}
