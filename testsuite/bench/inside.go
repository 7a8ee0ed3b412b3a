package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// insideEnv marks the copy of this program that runs in its own namespaces.
const insideEnv = "DEACON_BENCH_INSIDE"

func inside() bool { return os.Getenv(insideEnv) != "" }

// enter runs this program once more, alone on a network of its own. The mount
// namespace lets /sys show that network's links, and keeps mounts to itself.
func enter() int {
	self := exec.Command("/proc/self/exe", os.Args[1:]...)
	self.Env = append(os.Environ(), insideEnv+"=1")
	self.Stdin, self.Stdout, self.Stderr = os.Stdin, os.Stdout, os.Stderr
	// A terminal's interrupt goes to a whole process group. The copy and what it
	// starts are in another one, so that only the copy is told, and takes
	// everything away in its order.
	self.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGTERM, Setpgid: true,
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, os.Interrupt, syscall.SIGTERM)
	if err := self.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "bench: make namespaces:", err)
		return 1
	}
	go func() {
		for sig := range ended {
			self.Process.Signal(sig)
		}
	}()
	err := self.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

// prepareInside makes the new namespaces usable.
func prepareInside() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	return nil
}
