package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/deacon-agent/deacon/agent/chaos/drill"
	"github.com/deacon-agent/deacon/agent/settings"
)

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
	if err := o.checkPlace(); err != nil {
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
		if failed := s.saveReport(report, o); err == nil {
			err = failed
		} else if failed != nil {
			s.note("%v", failed)
		}
	}
	if left, ok := errors.AsType[*drill.LeftError](err); ok { // worth more than that it was interrupted
		return fail(exitFailed, "deacon ps shows them, and deacon stop ends them", "%w", left)
	}
	if err != nil {
		return err
	}
	return s.verdict(report)
}

// checkPlace finds out whether the report can be saved before anybody is harmed.
func (o chaosOptions) checkPlace() error {
	folder := o.report
	var err error
	if folder != "" {
		err = os.MkdirAll(folder, 0o755)
	}
	if err == nil && o.data != "" {
		folder = filepath.Dir(o.data)
		_, err = os.Stat(folder)
	}
	if err != nil {
		return fail(exitFailed, "choose another place; nothing was done to any node", "the report can't be saved: %w", err)
	}
	return nil
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
		fmt.Fprint(s.out, summary(report))
		for _, f := range report.Findings {
			fmt.Fprintf(s.out, "found: %s  %s\n", f.At.Format("15:04:05"), plain(f.Text))
		}
	}
	if !report.Passed {
		return fail(exitFailed, "again: "+report.Replay, "the nodes did not stand it: %s",
			counted(len(report.Findings), "finding"))
	}
	s.note("the nodes stood it")
	return nil
}

// summary is the report in two lines.
func summary(report drill.Report) string {
	done := 0
	for _, f := range report.Faults {
		if f.Error == "" && f.Skipped == "" {
			done++
		}
	}
	more := ""
	if rest := len(report.Faults) - done; rest > 0 {
		more = fmt.Sprintf(" and %d not done", rest)
	}
	q := report.Requests
	return fmt.Sprintf("%s%s in %s, %s, %s\n", counted(done, "fault"), more, report.Lasted,
		counted(report.Crashes, "crash"), counted(report.Agents, "agent")+" began anew") +
		fmt.Sprintf("in the windows of faults %s answered and %d not; outside of them %d answered and %d not\n",
			counted(q.WindowAnswered, "request"), q.WindowFailed, q.Answered, q.Unanswered)
}

func counted(n int, noun string) string {
	switch {
	case n == 1:
		return "1 " + noun
	case strings.HasSuffix(noun, "sh"):
		noun += "e"
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
