package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// ballast is where below the state folder faults keep what takes up room. All
// of it goes when they are healed, and at an agent's start.
const ballast = "chaos"

// Clean removes what the faults of a dead agent left on disk.
func Clean(state string) error { return os.RemoveAll(filepath.Join(state, ballast)) }

var diskFull = Fault{
	Name: "disk-full", Harm: Nobody, For: 10 * time.Second,
	Does: "the state folder's file system is filled to the last byte; only where it isn't " +
		"the machine's root file system",
	Heals:     "what fills it is removed",
	Available: ownDisk,
	Inject: func(ctx context.Context, n *Node, _ Order) (Injection, error) {
		folder, err := n.ballast()
		if err != nil {
			return Injection{}, err
		}
		filled, err := fill(ctx, filepath.Join(folder, "full"))
		heal := func(context.Context) error { return os.RemoveAll(folder) }
		if err != nil {
			return Injection{}, errors.Join(err, heal(ctx))
		}
		return Injection{Note: fmt.Sprintf("%d MiB", filled>>20), Heal: heal}, nil
	},
}

// ownDisk says whether the state folder's file system has room to be used up, without
// harm to others on the machine.
func ownDisk(n *Node) error {
	var state, root, temp unix.Stat_t
	if err := errors.Join(unix.Stat(n.State, &state), unix.Stat("/", &root), unix.Stat(os.TempDir(), &temp)); err != nil {
		return err
	}
	if state.Dev == root.Dev || state.Dev == temp.Dev {
		return fmt.Errorf("%s is not on a file system of its own: others on the machine would have no room either", n.State)
	}
	var room unix.Statfs_t
	if err := unix.Statfs(n.State, &room); err != nil {
		return err
	}
	if room.Bavail == 0 || room.Files > 0 && room.Ffree == 0 {
		return fmt.Errorf("no room is left on the file system of %s as it is", n.State)
	}
	return nil
}

// ballast makes a folder for one injection.
func (n *Node) ballast() (string, error) {
	if err := os.MkdirAll(filepath.Join(n.State, ballast), 0o700); err != nil {
		return "", err
	}
	return os.MkdirTemp(filepath.Join(n.State, ballast), "")
}

// fill takes all the room there is: in large pieces, then in ever smaller ones.
func fill(ctx context.Context, name string) (filled int64, err error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	for piece := int64(256 << 20); piece >= 4096; {
		if ctx.Err() != nil {
			return filled, context.Cause(ctx)
		}
		switch err := unix.Fallocate(int(file.Fd()), 0, filled, piece); {
		case err == nil:
			filled += piece
		case errors.Is(err, unix.ENOSPC):
			piece /= 2
		case !errors.Is(err, unix.EINTR):
			return filled, fmt.Errorf("fill the disk: %w", err)
		}
	}
	return filled, nil
}
