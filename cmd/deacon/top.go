package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/deacon-agent/deacon/messaging"
)

type topOptions struct {
	every time.Duration
	count int
}

func newTop(s *session) *cobra.Command {
	var o topOptions
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch what nodes and instances use",
		Long: `Show the nodes, and below them the instances by what they use of a processor, again
and again until Ctrl-C. CPU is in hundredths of one core, since the last look; memory
and disk stand beside what the instance may have; CRASHES is how many of the same
index are remembered on the same node. What is not known yet is a dash.

When the output is no terminal, each look is printed below the last.`,
		Example: exampleText("deacon top", "deacon top --every 5s", "deacon top --count 1"),
		GroupID: groupApps,
		Args:    arguments(0, 0),
		RunE:    func(cmd *cobra.Command, _ []string) error { return s.top(cmd.Context(), o) },
	}
	cmd.Flags().DurationVar(&o.every, "every", 2*time.Second, "the pause between two looks")
	cmd.Flags().IntVar(&o.count, "count", 0, "end after so many looks; 0: never")
	return cmd
}

func (s *session) top(ctx context.Context, o topOptions) error {
	switch {
	case o.every < 100*time.Millisecond:
		return fail(exitUsage, "", "--every %s: want 100ms or more", o.every)
	case o.count < 0:
		return fail(exitUsage, "", "--count %d: want a number from 1 on, or 0 for no end", o.count)
	}
	link, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer link.close()
	again := time.NewTicker(o.every)
	defer again.Stop()
	before := map[string]measure{}
	for looks := 1; ; looks++ {
		nodes, err := link.usage(ctx)
		if ctx.Err() != nil {
			return nil // Ctrl-C is how watching ends
		}
		if err != nil {
			return err
		}
		if err := s.showTop(nodes, before); err != nil || looks == o.count {
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// measure is what an instance had used of a core at some time of its node's.
type measure struct {
	at  time.Time
	cpu time.Duration
}

// showTop shows one look, and keeps what the next is compared with.
func (s *session) showTop(nodes []messaging.UsageDescribed, before map[string]measure) error {
	rows := topRows(nodes, before)
	clear(before)
	for _, n := range nodes {
		for _, i := range n.Instances {
			if i.Measured {
				before[i.Instance] = measure{n.At, i.CPU}
			}
		}
	}
	var page strings.Builder
	if err := printNodes(&page, nodes, time.Now()); err != nil {
		return err
	}
	page.WriteByte('\n')
	printTop(&page, rows, time.Now())
	text := page.String()
	if out, ok := s.out.(*os.File); ok && isTerminal(out) {
		width, height, err := term.GetSize(int(out.Fd()))
		if err != nil {
			width, height = 80, 24
		}
		text = fitted(text, width, height)
	} else {
		text += "\n"
	}
	_, err := fmt.Fprint(s.out, text)
	return err
}

// topRow is an instance and what it used of a core since the last look.
type topRow struct {
	node    string
	share   float64 // 1.0 is one core; negative: not known yet
	crashes int
	messaging.UsageRow
}

func topRows(nodes []messaging.UsageDescribed, before map[string]measure) []topRow {
	type place struct {
		node, application string
		index             int
	}
	crashes := map[place]int{}
	var rows []topRow
	for _, n := range nodes {
		for _, i := range n.Instances {
			if i.State == messaging.Crashed {
				crashes[place{n.Node.ID, i.Application, i.Index}]++
				continue
			}
			r := topRow{node: n.Node.ID, share: -1, UsageRow: i}
			if was, ok := before[i.Instance]; ok && i.Measured && n.At.After(was.at) {
				r.share = max(0, float64(i.CPU-was.cpu)/float64(n.At.Sub(was.at)))
			}
			rows = append(rows, r)
		}
	}
	for n := range rows {
		rows[n].crashes = crashes[place{rows[n].node, rows[n].Application, rows[n].Index}]
	}
	slices.SortStableFunc(rows, func(a, b topRow) int {
		return cmp.Or(cmp.Compare(b.share, a.share), cmp.Compare(b.MemoryBytes, a.MemoryBytes),
			strings.Compare(a.Application, b.Application), cmp.Compare(a.Index, b.Index))
	})
	return rows
}

func printTop(w *strings.Builder, rows []topRow, now time.Time) {
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "APP\tINDEX\tSTATE\tCPU\tMEMORY\tDISK\tPROCESSES\tCRASHES\tSINCE\tNODE")
	for _, r := range rows {
		cpu, memory, disk, processes := "-", "-", "-", "-"
		if r.share >= 0 {
			cpu = fmt.Sprintf("%.1f%%", r.share*100)
		}
		if r.Measured {
			memory = bytesText(r.MemoryBytes) + " of " + bytesText(r.MemoryLimit)
			disk = bytesText(r.DiskBytes) + " of " + bytesText(r.DiskLimit)
			processes = strconv.FormatInt(r.Processes, 10)
		}
		fmt.Fprintln(table, strings.Join([]string{
			plain(cmp.Or(r.Name, r.Application)), strconv.Itoa(r.Index), string(r.State), cpu, memory, disk, processes,
			strconv.Itoa(r.crashes), since(r.Since, now), plain(r.node),
		}, "\t"))
	}
	table.Flush()
}

// fitted is a page for a terminal: from its corner on, cut at its edges, over
// whatever was there. Nothing is cleared first, so nothing flickers.
func fitted(page string, width, height int) string {
	var out strings.Builder
	out.WriteString("\x1b[H")
	lines := strings.Split(strings.TrimSuffix(page, "\n"), "\n")
	for n, line := range lines[:min(len(lines), max(1, height))] {
		if n > 0 {
			out.WriteString("\r\n")
		}
		if letters := []rune(line); len(letters) > width {
			line = string(letters[:max(0, width)])
		}
		out.WriteString(line + "\x1b[K")
	}
	out.WriteString("\x1b[J")
	return out.String()
}
