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
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/deacon-agent/deacon/messaging"
)

// linesMax is how many lines of the past can be asked for.
const linesMax = 10_000

type logsOptions struct {
	follow bool
	index  int
	lines  int
}

func newLogs(s *session) *cobra.Command {
	var o logsOptions
	cmd := &cobra.Command{
		Use:   "logs APP",
		Short: "Show what an application writes",
		Long: `Show the last lines that an application wrote to its standard output and error,
and with -f go on with each new line until Ctrl-C. APP is a name or an id. Each
line begins with the application, its index and the stream.`,
		Example: exampleText("deacon logs hello", "deacon logs hello -f", "deacon logs hello --index 0 -n 20"),
		GroupID: groupApps,
		Args:    arguments(1, 1),
		RunE:    func(cmd *cobra.Command, args []string) error { return s.logs(cmd.Context(), args[0], o) },
	}
	flags := cmd.Flags()
	toggle(flags, &o.follow, "follow", "f", "go on with new lines")
	flags.IntVar(&o.index, "index", -1, "only this instance; -1: all")
	flags.IntVarP(&o.lines, "lines", "n", 100, "lines of the past, for each instance and stream")
	return cmd
}

func (s *session) logs(ctx context.Context, app string, o logsOptions) error {
	if o.lines < 0 || o.lines > linesMax {
		return fail(exitUsage, "", "--lines %d: want 0 to %d", o.lines, linesMax)
	}
	if o.index < -1 {
		return fail(exitUsage, "", "--index %d: want an index from 0 on, or -1 for all", o.index)
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
	rows = newest(rows)
	if err := hasIndex(rows, app, o); err != nil {
		return err
	}
	printer := linePrinter{session: s, out: s.out, names: map[string]string{}}
	for _, r := range rows {
		printer.names[r.Application] = r.title()
	}
	var lines <-chan messaging.Event
	if o.follow { // before the past is asked for, so that no line falls between
		if lines, err = link.listen(ctx, logSubjects(applications(rows), o.index)...); err != nil {
			return err
		}
	}
	past, err := link.tail(ctx, applications(rows), o)
	if err != nil {
		return err
	}
	for _, line := range past {
		if err := printer.print(line); err != nil {
			return err
		}
	}
	if !o.follow {
		return nil
	}
	return printer.follow(ctx, lines, shown(past))
}

// hasIndex is an error where the instance isn't there; to follow one that is
// still to come is none.
func hasIndex(rows []row, app string, o logsOptions) error {
	var indices []string
	for _, r := range rows {
		if r.Index == o.index {
			return nil
		}
		indices = append(indices, strconv.Itoa(r.Index))
	}
	if o.index < 0 || o.follow {
		return nil
	}
	return fail(exitNotFound, "there is index "+strings.Join(slices.Compact(indices), ", "),
		"%s has no instance with index %d", plain(app), o.index)
}

// newest leaves out what earlier applications of the same name left behind:
// where anything of that name runs, only that counts, and else the last.
func newest(rows []row) []row {
	keep := map[string]bool{}
	for _, r := range rows {
		if r.live() {
			keep[r.Application] = true
		}
	}
	if len(keep) == 0 {
		last := slices.MaxFunc(rows, func(a, b row) int { return a.Since.Compare(b.Since) })
		keep[last.Application] = true
	}
	return slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return !keep[r.Application] })
}

// tail asks for the last lines and returns them in the order of time.
func (l *link) tail(ctx context.Context, applications []string, o logsOptions) ([]messaging.LogLine, error) {
	if o.lines == 0 {
		return nil, nil
	}
	var lines []messaging.LogLine
	for _, application := range applications {
		replies, err := l.ask(ctx, messaging.TailLogs{Application: application, Index: o.index, Lines: o.lines})
		if err != nil {
			return nil, err
		}
		for _, reply := range replies {
			if tailed, ok := reply.(messaging.LogsTailed); ok {
				lines = append(lines, tailed.Lines...)
			}
		}
	}
	slices.SortStableFunc(lines, func(a, b messaging.LogLine) int { return a.At.Compare(b.At) })
	return lines, nil
}

// source is one stream of one instance.
type source struct{ instance, stream string }

// horizon remembers up to when each stream was shown, and what it wrote in
// that last moment.
type horizon map[source][]messaging.LogLine

func shown(past []messaging.LogLine) horizon {
	h := horizon{}
	for _, line := range past {
		key := source{line.Instance, line.Stream}
		if last := h[key]; len(last) > 0 && line.At.After(last[0].At) {
			h[key] = nil
		}
		h[key] = append(h[key], line)
	}
	return h
}

// has tells whether a line that is published now was among the past ones: it
// may be read from the file, and by the node's follower, at the same time.
func (h horizon) has(line messaging.LogLine) bool {
	last := h[source{line.Instance, line.Stream}]
	if len(last) == 0 || line.At.After(last[0].At) {
		return false
	}
	return line.At.Before(last[0].At) || slices.ContainsFunc(last, func(l messaging.LogLine) bool {
		return string(l.Text) == string(line.Text)
	})
}

// linePrinter shows lines, to people with the application's name.
type linePrinter struct {
	*session
	out   io.Writer
	names map[string]string // of applications, by id
}

func (p linePrinter) follow(ctx context.Context, lines <-chan messaging.Event, past horizon) error {
	for {
		select {
		case event := <-lines:
			if line, ok := event.(messaging.LogLine); ok && !past.has(line) {
				if err := p.print(line); err != nil {
					return err
				}
			}
		case <-ctx.Done(): // Ctrl-C is how following ends
			return nil
		}
	}
}

func (p linePrinter) print(line messaging.LogLine) error {
	name := cmp.Or(p.names[line.Application], line.Application)
	if p.json {
		return printLineJSON(p.out, name, line)
	}
	if line.Dropped > 0 {
		if _, err := fmt.Fprintf(p.out, "%s/%d %s | (%d bytes lost here)\n",
			plain(name), line.Index, line.Stream, line.Dropped); err != nil {
			return err
		}
	}
	// The text goes out byte for byte: colours and the like are the
	// application's own business.
	_, err := fmt.Fprintf(p.out, "%s/%d %s | %s\n", plain(name), line.Index, line.Stream, line.Text)
	return err
}

func printLineJSON(w io.Writer, name string, line messaging.LogLine) error {
	shown := struct {
		Application string    `json:"application"`
		Name        string    `json:"name"`
		Instance    string    `json:"instance"`
		Index       int       `json:"index"`
		Stream      string    `json:"stream"`
		At          time.Time `json:"at"`
		Text        string    `json:"text,omitempty"`
		TextBase64  []byte    `json:"text_base64,omitempty"` // instead of text that is no UTF-8
		Dropped     int64     `json:"dropped,omitempty"`
	}{line.Application, name, line.Instance, line.Index, line.Stream, line.At, "", nil, line.Dropped}
	if utf8.Valid(line.Text) {
		shown.Text = string(line.Text)
	} else {
		shown.TextBase64 = line.Text
	}
	return json.NewEncoder(w).Encode(shown)
}
