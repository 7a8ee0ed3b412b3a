package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// bwrap is bubblewrap: namespaces without limits or links.
type bwrap struct{ shop *workshop }

func newBwrap(shop *workshop) bwrap { return bwrap{shop} }

func (b bwrap) name() string { return "bwrap (no limits, no link)" }

func (b bwrap) trial() (trial, error) {
	v, err := newVoice()
	if err != nil {
		return trial{}, err
	}
	defer v.close()
	begun := now()
	cmd := b.command("/bin/ready")
	cmd.Stdout = v.write
	if err := cmd.Start(); err != nil {
		return trial{}, err
	}
	spoke, failed := v.firstByte()
	// Killing bwrap itself is not enough: where its PID 1 has not yet asked to
	// die with it, the container lives on.
	first, err := childOf(cmd.Process.Pid)
	failed = errors.Join(failed, err)
	asked := now()
	if first != 0 {
		unix.Kill(first, unix.SIGKILL)
	}
	cmd.Process.Kill()
	cmd.Wait()
	if failed != nil {
		return trial{}, failed
	}
	if err := v.silence(); err != nil {
		return trial{}, err
	}
	return trial{firstByte: spoke.since(begun), gone: now().since(asked)}, nil
}

func (b bwrap) command(argv ...string) *exec.Cmd {
	args := []string{"--unshare-all", "--unshare-user", "--unshare-cgroup", "--ro-bind", b.shop.rootfs, "/",
		"--proc", "/proc", "--dev", "/dev", "--cap-drop", "ALL", "--hostname", "bench", "--die-with-parent", "--"}
	cmd := exec.Command("bwrap", append(args, argv...)...)
	cmd.Stderr = os.Stderr
	return cmd
}

func (b bwrap) rate(many batch) (float64, error) {
	return many.run(func(int) error {
		if err := b.command("/bin/true").Run(); err != nil {
			return fmt.Errorf("bwrap: %w", err)
		}
		return nil
	})
}
