package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/deacon-agent/deacon/messaging"
)

func newFiles(s *session) *cobra.Command {
	group := &cobra.Command{
		Use:   "files",
		Short: "Look at the files of an application's instance",
		Long: `Look at the files of an instance that runs, or at the logs of one that crashed a
while ago. APP/INDEX is an application's name or id and the instance's index;
without an index it is that of index 0. PATH begins in the folder that has app,
logs and tmp.

The node has to serve files (the directory block of its configuration), and
must be reachable from here: itself, or by the name that routers know it by.`,
		GroupID: groupApps,
		Args:    oneOfItsCommands,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, cmd := range []*cobra.Command{newFilesLs(s), newFilesCat(s), newFilesCp(s)} {
		s.nats.register(cmd.Flags())
		group.AddCommand(cmd)
	}
	return group
}

func newFilesLs(s *session) *cobra.Command {
	return &cobra.Command{
		Use:   "ls APP/INDEX [PATH]",
		Short: "List a folder",
		Long: `List a folder of an instance: each entry with its size; a folder's name ends with
a slash. Without a PATH it is the folder that has app, logs and tmp.`,
		Example: exampleText("deacon files ls hello/0", "deacon files ls hello/0 logs", "deacon files ls hello --json"),
		Args:    arguments(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "/"
			if len(args) > 1 {
				path = args[1]
			}
			return s.onFile(cmd.Context(), args[0], path, s.listFolder)
		},
	}
}

func newFilesCat(s *session) *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "cat APP/INDEX PATH",
		Short: "Print a file, or follow it",
		Long: `Print a file as it is. With --follow go on with what is written to it, until it is
renamed or removed, or nothing came for a while (the node says how long).`,
		Example: exampleText("deacon files cat hello/0 logs/stdout.log", "deacon files cat -f hello/0 logs/access.log"),
		Args:    arguments(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.onFile(cmd.Context(), args[0], args[1], func(ctx context.Context, f *remoteFile) error {
				return s.printFile(ctx, f, follow)
			})
		},
	}
	toggle(cmd.Flags(), &follow, "follow", "f", "go on with what is written")
	return cmd
}

func newFilesCp(s *session) *cobra.Command {
	return &cobra.Command{
		Use:   "cp APP/INDEX PATH TARGET",
		Short: "Copy a file to this machine",
		Long: `Copy a file to this machine: TARGET is a folder that is there, or the copy's name.
What a broken connection or an interrupted command left, TARGET.part, is gone
on with, unless the file has changed meanwhile.`,
		Example: exampleText("deacon files cp hello/0 logs/heap.dump .", "deacon files cp hello/0 app/db.sqlite copy.sqlite"),
		Args:    arguments(3, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.onFile(cmd.Context(), args[0], args[1], func(ctx context.Context, f *remoteFile) error {
				return s.copyFile(ctx, f, args[2])
			})
		},
	}
}

// onFile finds an instance's file and acts on it.
func (s *session) onFile(ctx context.Context, target, path string, act func(context.Context, *remoteFile) error) error {
	app, number, given := cutLast(target, "/")
	index := 0
	if given {
		var err error
		if index, err = strconv.Atoi(number); err != nil || index < 0 {
			return fail(exitUsage, "as in hello/0", "%q is no APP/INDEX", plain(target))
		}
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
	r, err := withFiles(rows, index)
	if err != nil {
		return err
	}
	url, err := link.fileURL(ctx, r, path)
	if err != nil {
		return err
	}
	return act(ctx, newRemoteFile(url, r, path))
}

func cutLast(text, separator string) (before, after string, found bool) {
	at := strings.LastIndex(text, separator)
	if at < 0 {
		return text, "", false
	}
	return text[:at], text[at+1:], true
}

// withFiles is the instance of an index that can be looked into: the one that
// runs, or else the one that crashed last.
func withFiles(rows []row, index int) (row, error) {
	var found *row
	var states []string
	for i, r := range rows {
		if r.Index != index {
			continue
		}
		states = append(states, string(r.State))
		running := r.State == messaging.Running || r.State == messaging.Evacuating
		crashed := r.State == messaging.Crashed
		if running || crashed && (found == nil || found.State == messaging.Crashed && found.Since.Before(r.Since)) {
			found = &rows[i]
		}
		if running {
			break
		}
	}
	title := plain(rows[0].title())
	switch {
	case len(states) == 0:
		return row{}, fail(exitNotFound, "see deacon ps "+title, "%s has no instance with index %d", title, index)
	case found == nil:
		return row{}, fail(exitNotFound, "there are files when it runs, or has crashed",
			"%s/%d is %s", title, index, strings.Join(states, ", "))
	case !found.files.IsValid():
		return row{}, fail(exitFailed, "its configuration needs a directory block",
			"node %s serves no files", plain(found.node))
	}
	return *found, nil
}

// fileURL asks for a link as any controller does.
func (l *link) fileURL(ctx context.Context, r row, path string) (string, error) {
	replies, err := l.ask(ctx, messaging.FindInstances{
		Filter:      messaging.Filter{Application: r.Application, Instances: []string{r.Instance}},
		IncludePath: true, Path: path,
	})
	if err != nil {
		return "", err
	}
	for _, reply := range replies {
		if found, is := reply.(messaging.InstanceFound); is && found.Instance == r.Instance && found.FileURI != "" {
			return found.FileURI, nil
		}
	}
	return "", fail(exitNotFound, "see deacon ps "+plain(r.title()), "nobody has a link to the files of %s/%d any more",
		plain(r.title()), r.Index)
}

// fileEntry is a line of a folder's listing.
type fileEntry struct {
	Name   string `json:"name"`
	Folder bool   `json:"folder"`
	Size   string `json:"size"` // as the node says it; empty: a folder
}

func (s *session) listFolder(ctx context.Context, f *remoteFile) error {
	answer, err := f.get(ctx, nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if f.isFile(answer) {
		return fail(exitUsage, "see deacon files cat", "%s is a file", plain(f.path))
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return f.broke(ctx, err)
	}
	entries := []fileEntry{}
	for line := range strings.Lines(string(body)) {
		line = strings.TrimSuffix(line, "\n")
		if !s.json {
			if _, err := fmt.Fprintln(s.out, plain(line)); err != nil {
				return err
			}
			continue
		}
		name, size, _ := cutLast(line, " ")
		name, folder := strings.CutSuffix(strings.TrimRight(name, " "), "/")
		if folder {
			size = ""
		}
		entries = append(entries, fileEntry{name, folder, size})
	}
	if s.json {
		return json.NewEncoder(s.out).Encode(map[string]any{"entries": entries})
	}
	return nil
}

func (s *session) printFile(ctx context.Context, f *remoteFile, follow bool) error {
	if follow {
		f.query += "&tail&tail_offset=0"
	}
	answer, err := f.get(ctx, nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if !f.isFile(answer) && !(follow && answer.ContentLength < 0) {
		return fail(exitUsage, "see deacon files ls", "%s is a folder", plain(f.path))
	}
	if _, err := io.Copy(s.out, answer.Body); err != nil {
		return f.broke(ctx, err)
	}
	return nil
}

// isFile says what the answer is of: a folder has no ranges.
func (f *remoteFile) isFile(answer *http.Response) bool {
	return answer.Header.Get("Accept-Ranges") == "bytes"
}
