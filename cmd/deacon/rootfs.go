package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/deacon-agent/deacon/agent"
	"github.com/deacon-agent/deacon/staging/stack"
)

func newRootfs(s *session) *cobra.Command {
	var file string
	group := &cobra.Command{
		Use:   "rootfs",
		Short: "Make, check and remove root file systems for applications",
		Long: `Make root file systems ("stacks") for the applications of the node on this
machine, look after them and remove them. They lie in the node's state folder,
below stacks; the configuration offers one to applications by a block:

    stack "NAME" {}

A stack appears whole or not at all. What an interrupted command left is removed
by the next one that changes anything. All of these need root.`,
		GroupID: groupNode,
		Args:    oneOfItsCommands,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	group.PersistentFlags().StringVarP(&file, "config", "c", configDefault, "configuration file of the node")
	group.AddCommand(newRootfsBuild(s, &file), newRootfsImport(s, &file), newRootfsPull(s, &file),
		newRootfsList(s, &file), newRootfsVerify(s, &file), newRootfsRemove(s, &file))
	return group
}

// stacks is the node's store of them, with the file that configures it.
type stacks struct {
	*stack.Store
	config agent.Config
	file   string
}

func (s *session) stacks(file string) (stacks, error) {
	config, err := s.loadConfig(file)
	if err != nil {
		return stacks{}, err
	}
	if err := needRoot("deacon rootfs"); err != nil {
		return stacks{}, err
	}
	return stacks{config.StackStore(file), config, file}, nil
}

// progress tells a person what goes on.
func (s *session) progress(line string) { s.note("%s", plain(line)) }

// showMade says what was made, and how it comes to be used.
func (s *session) showMade(from stacks, m stack.Manifest) error {
	if s.json {
		return json.NewEncoder(s.out).Encode(struct {
			stack.Manifest
			Path string `json:"path"`
		}{m, from.Tree(m.Name)})
	}
	for _, added := range m.Added {
		s.note("added: %s", plain(added))
	}
	for _, odd := range m.Notes {
		s.note("note: %s", plain(odd))
	}
	if !from.config.NamesStack(m.Name) {
		s.note("To offer it to applications, write into %s and start the agent again:\n    stack %q {}", from.file, m.Name)
	}
	_, err := fmt.Fprintf(s.out, "stack %s: %d files, %s, %s\n", m.Name, m.Files, sizeText(m.Bytes), m.Digest)
	return err
}

// asStackFailure gives what package stack says its exit code and remedy.
func asStackFailure(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, stack.ErrUnknown) {
		return fail(exitNotFound, "deacon rootfs list shows those that there are", "%w", err)
	}
	if _, is := errors.AsType[*stack.ValueError](err); is || errors.Is(err, stack.ErrName) {
		return fail(exitUsage, "", "%w", err)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fail(exitNotFound, "", "%w", err)
	}
	return fail(exitFailed, remedyOf(err), "%w", err)
}

func remedyOf(err error) string {
	if e, is := errors.AsType[*stack.ExistsError](err); is {
		return "remove that first (deacon rootfs remove " + e.Name + "), or give this one another name"
	}
	if _, is := errors.AsType[*stack.BusyError](err); is {
		return "wait until that has ended, or end it with Ctrl-C where it runs"
	}
	if _, is := errors.AsType[*stack.UsedError](err); is {
		return "take its block out of the configuration, start the agent again and stop those applications first"
	}
	if e, is := errors.AsType[*stack.MissingError](err); is {
		return e.Remedy
	}
	return ""
}

// sizeText is a size for people.
func sizeText(bytes int64) string {
	const kib, mib, gib = 1 << 10, 1 << 20, 1 << 30
	switch {
	case bytes < kib:
		return fmt.Sprintf("%d B", bytes)
	case bytes < mib:
		return fmt.Sprintf("%d KiB", bytes/kib)
	case bytes < gib:
		return fmt.Sprintf("%d MiB", bytes/mib)
	}
	return fmt.Sprintf("%.1f GiB", float64(bytes)/gib)
}
