package chaos

import (
	"context"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

var noDescriptors = Fault{
	Name: "no-descriptors", Harm: Nobody, For: 5 * time.Second,
	Does:      "the agent's limit of file descriptors is lowered to the lowest that is free: it can open nothing more",
	Heals:     "the limit is what it was",
	Available: always,
	Inject: func(_ context.Context, n *Node, _ Order) (Injection, error) {
		lowest, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return Injection{}, fmt.Errorf("find the lowest free descriptor: %w", err)
		}
		unix.Close(lowest)
		was, err := limitDescriptors(nil)
		if err != nil {
			return Injection{}, err
		}
		// The limit is of their numbers, not of how many there are.
		tight := unix.Rlimit{Cur: uint64(lowest), Max: was.Max}
		if tight.Cur >= was.Cur {
			return Injection{}, unableError("the limit is as low already")
		}
		if _, err := limitDescriptors(&tight); err != nil {
			return Injection{}, err
		}
		return Injection{
			Note: fmt.Sprintf("%d of %d", tight.Cur, was.Cur),
			Heal: func(context.Context) error {
				_, err := limitDescriptors(&was)
				return err
			},
		}, nil
	},
}

// limitDescriptors returns the limit and, unless it is nil, sets another. It goes
// past the runtime, which takes a limit that is set by it for one that programs
// are to be started with: the launcher's, and so every job's, would stay changed.
func limitDescriptors(to *unix.Rlimit) (was unix.Rlimit, err error) {
	_, _, errno := unix.RawSyscall6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE,
		uintptr(unsafe.Pointer(to)), uintptr(unsafe.Pointer(&was)), 0, 0)
	if errno != 0 {
		return was, fmt.Errorf("limit file descriptors: %w", errno)
	}
	return was, nil
}
