package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// inodesMax is how many are used up at most: each costs a moment.
const inodesMax = 200_000

var noInodes = Fault{
	Name: "no-inodes", Harm: Nobody, For: 10 * time.Second,
	Does: "the inodes of the state folder's file system are used up; only where it isn't " +
		"the machine's root file system",
	Heals:     "what uses them is removed",
	Available: fewInodes,
	Inject: func(ctx context.Context, n *Node, _ Order) (Injection, error) {
		folder, err := n.ballast()
		if err != nil {
			return Injection{}, err
		}
		heal := func(context.Context) error { return os.RemoveAll(folder) }
		for made := range inodesMax {
			if ctx.Err() != nil {
				return Injection{}, errors.Join(context.Cause(ctx), heal(ctx))
			}
			fd, err := unix.Open(filepath.Join(folder, strconv.Itoa(made)), unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
			if errors.Is(err, unix.ENOSPC) {
				return Injection{Note: fmt.Sprintf("%d inodes", made), Heal: heal}, nil
			}
			if err != nil {
				return Injection{}, errors.Join(fmt.Errorf("use up inodes: %w", err), heal(ctx))
			}
			unix.Close(fd)
		}
		return Injection{}, errors.Join(unableError("there was no end of inodes"), heal(ctx))
	},
}

func fewInodes(n *Node) error {
	if err := ownDisk(n); err != nil {
		return err
	}
	var free unix.Statfs_t
	if err := unix.Statfs(n.State, &free); err != nil {
		return err
	}
	if free.Files == 0 || free.Ffree > inodesMax {
		return fmt.Errorf("the file system has more than %d inodes to use up, or doesn't count them", inodesMax)
	}
	return nil
}
