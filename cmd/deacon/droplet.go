package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

func newDroplet(s *session) *cobra.Command {
	var out, command, kind string
	cmd := &cobra.Command{
		Use:   "droplet FOLDER",
		Short: "Pack a folder that is ready to run into a droplet",
		Long: `Pack a folder into a droplet: an archive that any node can run. Everything in the
folder goes in as it is; nothing is compiled. The start command is the Procfile's
line "web: …" (or the one that --process names), unless --command gives another.

The same folder always makes the same droplet, byte for byte.`,
		Example: exampleText("deacon droplet examples/python", "deacon droplet build/ -o hello.tgz --command ./hello"),
		GroupID: groupAside,
		Args:    arguments(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			folder, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			if out == "" {
				out = filepath.Base(folder) + ".tgz"
			}
			return s.pack(packing{folder, out, command, kind})
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "file to write (default FOLDER's name with .tgz)")
	cmd.Flags().StringVar(&command, "command", "", "start command")
	cmd.Flags().StringVar(&kind, "process", "", "process type of the Procfile (default web, or the only one)")
	return cmd
}

// packing is what to pack, and how it will be started.
type packing struct{ folder, out, command, kind string }

func (s *session) pack(p packing) error {
	switch info, err := os.Stat(p.folder); {
	case errors.Is(err, fs.ErrNotExist):
		return fail(exitNotFound, "", "there is no folder %s", p.folder)
	case err != nil:
		return err
	case !info.IsDir():
		return fail(exitUsage, "", "%s is no folder", p.folder)
	}
	chosen, err := folderProcess(p.folder, p.kind, p.command)
	if err != nil {
		return err
	}
	digest, err := seal(p.folder, p.out, chosen.command)
	if err != nil {
		return fmt.Errorf("pack %s: %w", p.folder, err)
	}
	if s.json {
		return json.NewEncoder(s.out).Encode(map[string]string{
			"droplet": p.out, "sha1": digest, "command": chosen.command})
	}
	_, err = fmt.Fprintf(s.out, "%s  %s\nstarts with: %s\n", digest, p.out, chosen.command)
	return err
}
