package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/deacon-agent/deacon/messaging"
)

func newPs(s *session) *cobra.Command {
	return &cobra.Command{
		Use:   "ps [APP]",
		Short: "Show what runs, on every node",
		Long: `Show every instance that the nodes know of: those that run, and those that
crashed a while ago, with the reason. APP, a name or an id, shows one
application only.`,
		Example: exampleText("deacon ps", "deacon ps hello", "deacon ps --json"),
		GroupID: groupApps,
		Args:    arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			link, err := s.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer link.close()
			rows, err := link.rows(cmd.Context())
			if err != nil {
				return err
			}
			if len(args) == 1 {
				if rows, err = find(rows, args[0]); err != nil {
					return err
				}
			}
			return s.showRows(rows)
		},
	}
}

func (s *session) showRows(rows []row) error {
	if s.json {
		shown := make([]rowJSON, 0, len(rows))
		for _, r := range rows {
			shown = append(shown, r.forPrograms())
		}
		return json.NewEncoder(s.out).Encode(map[string]any{"instances": shown})
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(s.out, "Nothing runs. To start something: deacon run -- python3 -m http.server '$PORT'")
		return err
	}
	return printRows(s.out, rows, time.Now())
}

// rowJSON is an instance as programs get it; its keys are a contract.
type rowJSON struct {
	Application string          `json:"application"`
	Name        string          `json:"name"`
	Version     string          `json:"version"`
	Instance    string          `json:"instance"`
	Container   string          `json:"container"`
	Index       int             `json:"index"`
	State       messaging.State `json:"state"`
	Since       time.Time       `json:"since"`
	URIs        []string        `json:"uris"`
	URL         string          `json:"url"`
	Node        string          `json:"node"`
	ExitStatus  *int            `json:"exit_status"` // null: it did not end, or never ran
	Description string          `json:"description"`
}

func (r row) forPrograms() rowJSON {
	shown := rowJSON{
		Application: r.Application, Name: r.Name, Version: r.Version, Instance: r.Instance,
		Container: r.Container, Index: r.Index, State: r.State, Since: r.Since,
		URIs: append([]string{}, r.URIs...), URL: r.url(), Node: r.node, Description: r.Description,
	}
	if r.State == messaging.Crashed && r.ExitStatus >= 0 {
		shown.ExitStatus = &r.ExitStatus
	}
	return shown
}

// rows asks every node for its instances.
func (l *link) rows(ctx context.Context) ([]row, error) {
	_, rows, err := l.nodesAndRows(ctx)
	return rows, err
}

// rowsOf are an application's, which is there.
func (l *link) rowsOf(ctx context.Context, app string) ([]row, error) {
	rows, err := l.rows(ctx)
	if err != nil {
		return nil, err
	}
	return find(rows, app)
}

// nodesAndRows asks every node for its instances, and tells which nodes there
// are. A node with many instances answers in several pieces.
func (l *link) nodesAndRows(ctx context.Context) (nodes []string, rows []row, err error) {
	replies, err := l.ask(ctx, messaging.ListInstances{})
	if err != nil {
		return nil, nil, err
	}
	for _, reply := range replies {
		list, ok := reply.(messaging.InstancesListed)
		if !ok {
			continue
		}
		if !slices.Contains(nodes, list.NodeID) {
			nodes = append(nodes, list.NodeID)
		}
		for _, instance := range list.Instances {
			rows = append(rows, row{node: list.NodeID, files: list.Files, InstanceRow: instance})
		}
	}
	if len(nodes) == 0 {
		return nil, nil, fail(exitUnreachable, "start a node with deacon dev or deacon agent",
			"NATS is reached, but no node answered")
	}
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(
			strings.Compare(a.title(), b.title()), strings.Compare(a.Application, b.Application),
			cmp.Compare(a.Index, b.Index), a.Since.Compare(b.Since))
	})
	return nodes, rows, nil
}

// find selects the instances of one application, by its id or else by its
// name, which several applications may share.
func find(rows []row, app string) ([]row, error) {
	for _, same := range []func(row) bool{
		func(r row) bool { return r.Application == app },
		func(r row) bool { return r.Name == app },
	} {
		found := slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return !same(r) })
		if len(found) > 0 {
			return found, nil
		}
	}
	return nil, notFound(rows, app)
}

func notFound(rows []row, app string) error {
	var titles []string
	for _, r := range rows {
		titles = append(titles, plain(r.title()))
	}
	remedy := "nothing runs on any node that answered"
	if titles = slices.Compact(titles); len(titles) > 0 {
		remedy = "there is " + strings.Join(titles, ", ")
	}
	return fail(exitNotFound, remedy, "there is no application %q", app)
}

// applications are the ids of the applications that rows belong to.
func applications(rows []row) []string {
	var ids []string
	for _, r := range rows {
		if !slices.Contains(ids, r.Application) {
			ids = append(ids, r.Application)
		}
	}
	return ids
}
