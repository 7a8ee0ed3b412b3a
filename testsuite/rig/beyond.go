package rig

import (
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// StartBeyond starts a command in the network that the test run was started in.
// It is for the one thing that a test has to fetch from elsewhere: packages, from
// the mirror of this machine's own apt sources.
func StartBeyond(command *exec.Cmd) error {
	return onOwnThread(func() error {
		// Whoever runs the tests inside waits for them outside.
		outer, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", os.Getppid()))
		if err != nil {
			return fmt.Errorf("rig: the outer network: %w", err)
		}
		defer outer.Close()
		if err := unix.Setns(int(outer.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("rig: enter the outer network: %w", err)
		}
		return command.Start()
	})
}
