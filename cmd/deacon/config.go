package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/deacon-agent/deacon/agent"
)

func newConfig(s *session) *cobra.Command {
	group := &cobra.Command{
		Use:     "config",
		Short:   "Check a node's configuration",
		Long:    "Work with a node's configuration file.",
		GroupID: groupAside,
		Args:    oneOfItsCommands,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	group.AddCommand(newConfigCheck(s))
	return group
}

func newConfigCheck(s *session) *cobra.Command {
	return &cobra.Command{
		Use:   "check [FILE]",
		Short: "Say everything that is wrong with a configuration file",
		Long: `Read a configuration file as the agent would, and say everything that is wrong
with it at once, each mistake with its line. Nothing is started or changed.
The default is ` + configDefault + `.

It ends with 0 if the file is good, 4 if there is none, and 5 if it is invalid.`,
		Example: exampleText("deacon config check", "deacon config check ./config.hcl"),
		Args:    arguments(0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			file := configDefault
			if len(args) == 1 {
				file = args[0]
			}
			config, err := s.loadConfig(file)
			if err != nil {
				return err
			}
			if s.json {
				return json.NewEncoder(s.out).Encode(struct {
					File     string   `json:"file"`
					Valid    bool     `json:"valid"`
					Warnings []string `json:"warnings"`
				}{file, true, append([]string{}, config.Warnings...)})
			}
			_, err = fmt.Fprintf(s.out, "%s is good\n", file)
			return err
		},
	}
}

// loadConfig reads a configuration, shows what is odd about it, and says what
// is wrong in the command line's way.
func (s *session) loadConfig(file string) (agent.Config, error) {
	config, err := agent.LoadConfig(file)
	if errors.Is(err, fs.ErrNotExist) {
		return config, fail(exitNotFound, "name another one, or begin with the commented config.hcl of the sources",
			"there is no configuration file %s", file)
	}
	_, invalid := errors.AsType[*agent.ConfigError](err)
	if extension := strings.ToLower(filepath.Ext(file)); invalid && (extension == ".yml" || extension == ".yaml") {
		return config, fail(exitConfig, "if it is a Warden's, make a node's of it: deacon warden-config import "+
			quoteWord(file)+" -o config.hcl", "%s is YAML, and a node's configuration is HCL", file)
	}
	if invalid {
		return config, fail(exitConfig, "correct these, then try: deacon config check "+file, "%w", err)
	}
	for _, warning := range config.Warnings {
		s.note("warning: %s", warning)
	}
	return config, err
}
