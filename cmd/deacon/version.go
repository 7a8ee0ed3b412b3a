package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/agent"
)

// release is the version; a release build sets it by -ldflags "-X main.release=…".
var release = agent.Version + "-dev"

// build is what this binary says of itself and of the machine.
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Changed bool   `json:"changed"` // the tree had changes that were not committed
	Go      string `json:"go"`
	Target  string `json:"target"`
	Kernel  string `json:"kernel"`
}

func newVersion(s *session) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Say which deacon this is",
		Long: `Say which deacon this is: its version, the commit that it was built from, the Go
release, and the kernel that it runs on.`,
		Example: exampleText("deacon version", "deacon version --json"),
		GroupID: groupAside,
		Args:    arguments(0, 0),
		RunE: func(*cobra.Command, []string) error {
			b := readBuild()
			if s.json {
				return json.NewEncoder(s.out).Encode(b)
			}
			commit := b.Commit
			if b.Changed {
				commit += ", with changes"
			}
			_, err := fmt.Fprintf(s.out, "deacon %s (commit %s)\n%s %s, Linux %s\n",
				b.Version, commit, b.Go, b.Target, b.Kernel)
			return err
		},
	}
}

func readBuild() build {
	b := build{Version: release, Commit: "unknown", Go: runtime.Version(),
		Target: runtime.GOOS + "/" + runtime.GOARCH, Kernel: kernelRelease()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			b.Commit = setting.Value[:min(12, len(setting.Value))]
		case "vcs.modified":
			b.Changed = setting.Value == "true"
		}
	}
	return b
}

func kernelRelease() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "unknown"
	}
	return strings.TrimRight(string(name.Release[:]), "\x00")
}
