package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/deacon-agent/deacon/staging/stack"
)

func newRootfsList(s *session, file *string) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the stacks of the node on this machine",
		Long: `List the stacks that deacon rootfs made: how large they are, where they came
from, who uses them; and what is being made or removed, or was left by a command
that was killed over it. The stack host, and folders that the configuration
names by a path, are none of them. Nothing is changed.`,
		Example: exampleText("deacon rootfs list", "deacon rootfs list --json"),
		Args:    arguments(0, 0),
		RunE: func(*cobra.Command, []string) error {
			from, err := s.stacks(*file)
			if err != nil {
				return err
			}
			entries, unfinished, err := from.List()
			if err != nil {
				return err
			}
			return s.showStacks(entries, unfinished)
		},
	}
}

func (s *session) showStacks(entries []stack.Entry, unfinished []stack.Unfinished) error {
	if s.json {
		return json.NewEncoder(s.out).Encode(struct {
			Stacks     []stack.Entry      `json:"stacks"`
			Unfinished []stack.Unfinished `json:"unfinished"`
		}{append([]stack.Entry{}, entries...), append([]stack.Unfinished{}, unfinished...)})
	}
	table := tabwriter.NewWriter(s.out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "STACK\tSIZE\tFILES\tAGE\tUSED BY\tSOURCE")
	for _, e := range entries {
		cells := []string{e.Name, sizeText(e.Bytes), fmt.Sprint(e.Files), since(e.Created, time.Now()),
			orDash(plain(strings.Join(e.Used, ", "))), plain(e.Source)}
		if e.Fault != "" {
			cells = []string{e.Name, "-", "-", "-", cells[4], "damaged: " + plain(e.Fault)}
		}
		fmt.Fprintln(table, strings.Join(cells, "\t"))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, u := range unfinished {
		if u.Alive {
			s.note("%s is being %s", u.Name, u.Doing)
			continue
		}
		s.note("%s was being %s when its command was killed; the next one that changes anything removes %s",
			u.Name, u.Doing, u.Path)
	}
	return nil
}

func newRootfsVerify(s *session, file *string) *cobra.Command {
	return &cobra.Command{
		Use:   "verify [NAME]",
		Short: "Say whether a stack is as it was made",
		Long: `Compare every file of a stack, or of all, with what it was when the stack was
made: content, owner, mode, capabilities. Times don't count.

It ends with 0 if nothing differs, and 1 if anything does.`,
		Example: exampleText("deacon rootfs verify", "deacon rootfs verify bookworm"),
		Args:    arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			from, err := s.stacks(*file)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				entries, _, err := from.List()
				if err != nil {
					return err
				}
				for _, e := range entries {
					args = append(args, e.Name)
				}
			}
			return s.verifyStacks(cmd, from, args)
		},
	}
}

// differencesShown is how many a person is shown of one stack.
const differencesShown = 20

func (s *session) verifyStacks(cmd *cobra.Command, from stacks, names []string) error {
	damaged := 0
	for _, name := range names {
		m, differences, err := from.Verify(cmd.Context(), name)
		if err != nil {
			return asStackFailure(err)
		}
		if len(differences) > 0 {
			damaged++
		}
		if err := s.showVerified(m, differences); err != nil {
			return err
		}
	}
	if damaged > 0 {
		return fail(exitFailed, "make it again under another name, and have the configuration name that",
			"%d of %d stacks differ from what was made", damaged, len(names))
	}
	return nil
}

func (s *session) showVerified(m stack.Manifest, differences []stack.Difference) error {
	if s.json {
		return json.NewEncoder(s.out).Encode(struct {
			Name        string             `json:"name"`
			Digest      string             `json:"digest"`
			Differences []stack.Difference `json:"differences"`
		}{m.Name, m.Digest, append([]stack.Difference{}, differences...)})
	}
	if len(differences) == 0 {
		_, err := fmt.Fprintf(s.out, "%s is as it was made: %d files, %s\n", m.Name, m.Files, m.Digest)
		return err
	}
	for _, d := range differences[:min(len(differences), differencesShown)] {
		fmt.Fprintf(s.out, "%s: %s %s\n", m.Name, plain(d.Path), d.What)
	}
	if more := len(differences) - differencesShown; more > 0 {
		fmt.Fprintf(s.out, "%s: and %d more\n", m.Name, more)
	}
	return nil
}

func newRootfsRemove(s *session, file *string) *cobra.Command {
	return &cobra.Command{
		Use:   "remove NAME",
		Short: "Remove a stack that nobody uses",
		Long: `Remove a stack. One that is in use isn't: by a container, living or dead, by
the agent that runs on the state folder, or by the configuration, without which
no agent would start again. The error says by whom.`,
		Example: exampleText("deacon rootfs remove bookworm"),
		Args:    arguments(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			from, err := s.stacks(*file)
			if err != nil {
				return err
			}
			if err := from.Remove(args[0]); err != nil {
				return asStackFailure(err)
			}
			s.note("%s is removed", args[0])
			return nil
		},
	}
}
