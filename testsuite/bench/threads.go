package main

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// newNetns makes a network namespace that lives as long as the file is open
// or something is in it.
func newNetns() (ns *os.File, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Never unlocked: the thread ends with the goroutine.
		runtime.LockOSThread()
		if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
			ns, err = os.Open("/proc/thread-self/ns/net")
		}
	}()
	<-done
	if err != nil {
		return nil, fmt.Errorf("make a network namespace: %w", err)
	}
	return ns, nil
}

// room is a thread with a mount namespace of its own; what it starts lives in
// that. It is there as long as this program.
type room struct{ work chan func() }

// newRoom calls furnish inside once.
func newRoom(furnish func() error) (*room, error) {
	r := &room{work: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNS)
		if err == nil {
			err = furnish()
		}
		ready <- err
		for act := range r.work {
			act()
		}
	}()
	return r, <-ready
}

// do runs act inside and waits for it.
func (r *room) do(act func() error) (err error) {
	done := make(chan struct{})
	r.work <- func() {
		err = act()
		close(done)
	}
	<-done
	return err
}
