package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/deacon-agent/deacon/agent"
	"github.com/deacon-agent/deacon/agent/doctor"
)

func newDoctor(s *session) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine can enforce, and how to mend what it can't",
		Long: `Look at everything that a node needs of its machine, by the code that an agent
stands on, and say of each thing how it is here and how to mend it. No agent
need run, nothing is changed, and whatever is made to see whether it can be made
is gone afterwards. Without root some of it can't be seen.

It ends with 0 where a node can run here, and with 1 where something is missing
that it can't do without.`,
		Example: exampleText("sudo deacon doctor", "sudo deacon doctor -c ./config.hcl --json"),
		GroupID: groupNode,
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := s.doctorsConfig(cmd.Flags().Changed("config"), file)
			if err != nil {
				return err
			}
			findings := doctor.Examine(cmd.Context(), config)
			if err := s.showFindings(findings); err != nil {
				return err
			}
			lacking := 0
			for _, f := range findings {
				if f.Verdict == doctor.Missing {
					lacking++
				}
			}
			if lacking > 0 {
				return fail(exitFailed, "mend what is missing, and look again", "%d things are missing that a node needs", lacking)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", configDefault, "configuration file; without one, the default settings")
	return cmd
}

// doctorsConfig is the default one where nobody named another and none is installed.
func (s *session) doctorsConfig(named bool, file string) (agent.Config, error) {
	if _, err := os.Stat(file); !named && errors.Is(err, fs.ErrNotExist) {
		return agent.DefaultConfig(), nil
	}
	return s.loadConfig(file)
}

// findingJSON is a finding as programs get it; its keys are a contract.
type findingJSON struct {
	Check   string         `json:"check"`
	Verdict doctor.Verdict `json:"verdict"`
	What    string         `json:"what"`
	Remedy  string         `json:"remedy,omitempty"`
}

func (s *session) showFindings(findings []doctor.Finding) error {
	if s.json {
		shown := make([]findingJSON, 0, len(findings))
		for _, f := range findings {
			shown = append(shown, findingJSON(f))
		}
		return json.NewEncoder(s.out).Encode(map[string]any{"findings": shown})
	}
	for _, f := range findings {
		if _, err := fmt.Fprintf(s.out, "%-8s %s: %s\n", f.Verdict, f.Check, plain(f.What)); err != nil {
			return err
		}
		if f.Remedy != "" && f.Verdict != doctor.Good {
			fmt.Fprintf(s.out, "         -> %s\n", f.Remedy)
		}
	}
	return nil
}
