package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/deacon-agent/deacon/agent"
	"github.com/deacon-agent/deacon/agent/legacy"
)

// importBytesMax bounds a foreign configuration; a larger one is something else.
const importBytesMax = 1 << 20

func newWardenConfig(s *session) *cobra.Command {
	group := &cobra.Command{
		Use:     "warden-config",
		Short:   "Take over the configuration of a Warden",
		Long:    "Work with the configuration of one of Cloud Foundry's old Wardens.",
		GroupID: groupAside,
		Args:    oneOfItsCommands,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	group.AddCommand(newWardenConfigImport(s))
	return group
}

type importOptions struct {
	output string
	force  bool
}

func newWardenConfigImport(s *session) *cobra.Command {
	var o importOptions
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Make a node's configuration from a Warden's",
		Long: `Read the configuration of a Warden, a YAML file, and write a node's that behaves
the same: the socket, the root file system, limits, addresses, ports. A comment
at each setting says where it comes from, and others at the end what has no
counterpart. What was ignored is said on the standard error output. FILE may be
a dash, for the standard input.

Where the Warden would have asked its machine for a port range, this machine is
asked, and whether the root file system is there: run it where the node is to
be, or look at network.port_first and warden.rootfs.

It ends with 0 if there is a configuration now, 4 if there is no FILE, and 5 if
FILE is invalid.`,
		Example: exampleText(
			"deacon warden-config import /etc/warden/linux.yml",
			"deacon warden-config import linux.yml -o /etc/deacon/config.hcl"),
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.importWarden(cmd.InOrStdin(), args[0], o)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.output, "output", "o", "", "file to write; left out, it is printed")
	toggle(flags, &o.force, "force", "", "replace the file of --output if there is one")
	return cmd
}

func (s *session) importWarden(input io.Reader, file string, o importOptions) error {
	src, err := readForeign(input, file)
	if err != nil {
		return err
	}
	imported, err := legacy.Import(file, src, legacy.ThisMachine())
	if _, ok := errors.AsType[*legacy.ImportError](err); ok {
		return fail(exitConfig, "correct these, and try again", "%w", err)
	}
	if err != nil {
		return err
	}
	// The agent's own judgement is asked before anything is written.
	config, err := agent.ParseConfig(cmp.Or(o.output, "the imported configuration"), imported.HCL)
	if err != nil {
		return fail(exitFailed, "this is a fault of deacon's", "%s became a configuration that isn't one: %w", file, err)
	}
	if o.output != "" {
		if err := writeImported(imported.HCL, o); err != nil {
			return err
		}
	}
	return s.showImported(imported, config.Warnings, o.output)
}

func readForeign(input io.Reader, file string) ([]byte, error) {
	if file != "-" {
		opened, err := os.Open(file)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fail(exitNotFound, "name the YAML file that the Warden was started with",
				"there is no configuration file %s", file)
		}
		if err != nil {
			return nil, err
		}
		defer opened.Close()
		input = opened
	}
	src, err := io.ReadAll(io.LimitReader(input, importBytesMax+1))
	if err != nil { // it names the file
		return nil, err
	}
	if len(src) > importBytesMax {
		return nil, fail(exitConfig, "", "%s is larger than %d bytes; it is no configuration", file, importBytesMax)
	}
	return src, nil
}

func writeImported(hcl []byte, o importOptions) error {
	how := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if o.force {
		how = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	file, err := os.OpenFile(o.output, how, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fail(exitFailed, "name another one, or replace it with --force", "there is a file %s already", o.output)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fail(exitFailed, "make it first, or name another file", "there is no folder for %s", o.output)
	}
	if err != nil {
		return err
	}
	_, err = file.Write(hcl)
	return errors.Join(err, file.Close())
}

func (s *session) showImported(imported legacy.Imported, warnings []string, output string) error {
	if s.json {
		return json.NewEncoder(s.out).Encode(struct {
			File   string   `json:"file,omitempty"`
			Config string   `json:"config"`
			Notes  []string `json:"notes"`
		}{output, string(imported.HCL), append(append([]string{}, imported.Notes...), warnings...)})
	}
	for _, note := range imported.Notes {
		s.note("%s", note)
	}
	for _, warning := range warnings {
		s.note("warning: %s", warning)
	}
	if output != "" {
		s.note("%s is written; look at it, then try: deacon agent -c %[1]s", output)
		return nil
	}
	_, err := s.out.Write(imported.HCL)
	return err
}
