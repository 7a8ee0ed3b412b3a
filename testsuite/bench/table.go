package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// print writes the report for people.
func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "%d rounds, at least %s idle before each start; kernel %s, %d CPUs, load %s before and %s after\n\n",
		r.Rounds, idle, r.Kernel, r.CPUs, r.LoadBefore, r.LoadAfter)
	r.printStarts(w)
	r.printSteps(w)
	r.printRates(w)
	r.printDoor(w)
	m := r.Memory
	fmt.Fprintf(w, "%d idle containers, KiB: one deacon-init %s; the agent %s (with none: %s)\n\n",
		m.Containers, m.Init, m.Agent, m.AgentFirst)
	r.printChecks(w)
}

// columns aligns numbers to the right of a first column of names.
func columns(w io.Writer, rows [][]string) {
	widest := 0
	for _, row := range rows {
		widest = max(widest, len(row[0]))
	}
	t := tabwriter.NewWriter(w, 9, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range rows {
		fmt.Fprintf(t, "%-*s\t%s\t\n", widest, row[0], strings.Join(row[1:], "\t"))
	}
	t.Flush()
	fmt.Fprintln(w)
}

func (r *report) printStarts(w io.Writer) {
	rows := [][]string{{"one container, ms", "byte p50", "byte p99", "x floor", "end p50", "end p99"}}
	for _, s := range r.Starts {
		rows = append(rows, []string{s.Name, decimal(millis(s.FirstByte.p50())), decimal(millis(s.FirstByte.p99())),
			decimal(r.overFloor(s)), decimal(millis(s.Gone.p50())), decimal(millis(s.Gone.p99()))})
	}
	columns(w, rows)
	for _, s := range r.Starts {
		if len(s.Registered) > 0 {
			fmt.Fprintf(w, "%s: dea.<id>.start published to router.register seen, ms: p50 %.2f, p99 %.2f\n\n",
				s.Name, millis(s.Registered.p50()), millis(s.Registered.p99()))
		}
	}
}

// printSteps prints the share of each step of the rows that tell.
func (r *report) printSteps(w io.Writer) {
	for _, s := range r.Starts {
		if len(s.Steps) == 0 {
			continue
		}
		var parts []string
		for _, step := range s.Steps {
			took := step.Took.p50()
			share := 100 * float64(took) / float64(s.FirstByte.p50())
			parts = append(parts, fmt.Sprintf("%s %.2f (%.0f%%)", step.Name, millis(took), share))
		}
		fmt.Fprintf(w, "steps of %s, p50 ms (share of the first byte; steps may overlap):\n  %s\n",
			s.Name, strings.Join(parts, ", "))
	}
	fmt.Fprintln(w)
}

func (r *report) printRates(w io.Writer) {
	title := fmt.Sprintf("%d containers, %d in flight", asked.total, asked.inFlight)
	rows := [][]string{{title, "a second", "x runc", "turns"}}
	runc := r.rate(runcName).median()
	for _, s := range r.Rates {
		var turns []string
		for _, perSecond := range s.PerSecond {
			turns = append(turns, fmt.Sprintf("%.0f", perSecond))
		}
		rows = append(rows, []string{s.Name, fmt.Sprintf("%.0f", s.median()), decimal(s.median() / runc),
			strings.Join(turns, " ")})
	}
	columns(w, rows)
}

func (r *report) printChecks(w io.Writer) {
	if r.floorIsNoisy() {
		fmt.Fprintf(w, "The floor took %s ms (%s without a disk); on a quiet machine of this kind it takes 3.6 to 3.9.\n"+
			"So a limit in floors can't be proved by this run. TMPDIR=/dev/shm takes the disk out for all rows.\n\n",
			decimal(millis(r.series(floorName).FirstByte.p50())), decimal(millis(r.series(diskless).FirstByte.p50())))
	}
	for _, c := range r.Checks {
		side := "at least"
		if c.Most {
			side = "at most"
		}
		fmt.Fprintf(w, "%-5s  %-64s %8s %-8s  (%s %g)\n", c.Verdict, c.What, decimal(c.Got), c.Unit, side, c.Limit)
	}
}

func decimal(v float64) string { return fmt.Sprintf("%.2f", v) }
