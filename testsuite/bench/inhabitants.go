package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// inhabitants are all processes of one pid namespace, held by descriptors so
// that a pid that is used again isn't taken for one of them.
type inhabitants struct{ pidfds []int }

// processesWith finds everybody who lives in the pid namespace of pid.
func processesWith(pid int) (_ *inhabitants, err error) {
	own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	if err != nil {
		return nil, fmt.Errorf("find the container's processes: %w", err)
	}
	found := &inhabitants{}
	spaces, err := filepath.Glob("/proc/[0-9]*/ns/pid")
	if err != nil {
		return nil, err
	}
	for _, space := range spaces {
		if other, err := os.Readlink(space); err != nil || other != own {
			continue // elsewhere, or ended
		}
		number, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(space))))
		if err != nil {
			return nil, err
		}
		pidfd, err := unix.PidfdOpen(number, 0)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			found.close()
			return nil, fmt.Errorf("hold process %d: %w", number, err)
		}
		found.pidfds = append(found.pidfds, pidfd)
	}
	// PID 1 and the application, or this would be no proof of anything.
	if len(found.pidfds) < 2 {
		found.close()
		return nil, fmt.Errorf("the container has %d processes", len(found.pidfds))
	}
	return found, nil
}

// childOf finds the only child of a process. Not every kernel has a file for
// that, so all are asked for their parent.
func childOf(parent int) (int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	for _, file := range stats {
		content, err := os.ReadFile(file)
		if err != nil {
			continue // ended
		}
		// "pid (name) state parent ...", and the name may hold anything.
		text := string(content)
		var state string
		var of int
		if _, err := fmt.Sscan(text[strings.LastIndexByte(text, ')')+1:], &state, &of); err == nil && of == parent {
			return strconv.Atoi(filepath.Base(filepath.Dir(file)))
		}
	}
	return 0, fmt.Errorf("process %d has no child", parent)
}

// dead is an error if one of them lives.
func (i *inhabitants) dead() error {
	polls := make([]unix.PollFd, len(i.pidfds))
	for n, pidfd := range i.pidfds {
		polls[n] = unix.PollFd{Fd: int32(pidfd), Events: unix.POLLIN}
	}
	ended, err := unix.Poll(polls, 0)
	if err == nil && ended < len(polls) {
		err = fmt.Errorf("%d of %d processes live", len(polls)-ended, len(polls))
	}
	return err
}

// wait returns when all of them are dead.
func (i *inhabitants) wait(limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for _, pidfd := range i.pidfds {
		one := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
		for one[0].Revents == 0 {
			left := time.Until(deadline).Milliseconds()
			if left <= 0 {
				return fmt.Errorf("a process of the container lives %s after it was to end", limit)
			}
			if _, err := unix.Poll(one, int(left)); err != nil && !errors.Is(err, unix.EINTR) {
				return err
			}
		}
	}
	return nil
}

func (i *inhabitants) close() {
	for _, pidfd := range i.pidfds {
		unix.Close(pidfd)
	}
}
