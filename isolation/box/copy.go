package box

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/slot"
	"github.com/deacon-agent/deacon/isolation/transfer"
)

// insideHome is where a path of the container begins that isn't absolute.
const insideHome = "/home/vcap/"

// CopyIn copies from the node into a container, as the user that has these
// numbers inside: what it may not write is refused, what is made belongs to it,
// and is charged to the container's own disk. A path of the container that
// isn't absolute begins at vcap's home.
func (b *Box) CopyIn(ctx context.Context, id string, c isolation.Copy, user isolation.User) error {
	return b.copy(ctx, id, user, func(ctx context.Context, inside transfer.Side) error {
		if !path.IsAbs(c.Source) {
			return fmt.Errorf("source %q is not an absolute path", c.Source)
		}
		inside.Path = pathInside(c.Target)
		return transfer.Copy(ctx, transfer.Side{Path: c.Source}, inside)
	})
}

// CopyOut copies from a container to the node what the user may read. What
// is made belongs to root, or Target and all below it to c.Owner, who is looked
// up before anything is copied; set-user-id and set-group-id files lose those
// bits. It makes no difference whether the container is stopped.
func (b *Box) CopyOut(ctx context.Context, id string, c isolation.Copy, user isolation.User) error {
	return b.copy(ctx, id, user, func(ctx context.Context, inside transfer.Side) error {
		if !path.IsAbs(c.Target) {
			return fmt.Errorf("target %q is not an absolute path", c.Target)
		}
		own := func() error { return nil }
		if c.Owner != "" {
			owner, err := transfer.FindOwner(c.Owner)
			if err != nil {
				return err
			}
			own = func() error { return owner.Take(ctx, c.Target) }
		}
		inside.Path = pathInside(c.Source)
		if c.MostBytes > 0 {
			inside.Most = &transfer.Bounds{Bytes: c.MostBytes, Entries: c.MostEntries}
		}
		if err := transfer.Copy(ctx, inside, transfer.Side{Path: c.Target}); err != nil {
			return err
		}
		return own()
	})
}

func pathInside(name string) string {
	if path.IsAbs(name) {
		return name
	}
	return insideHome + name
}

// copy lends the container's end of a copy for as long as PID 1 lives.
func (b *Box) copy(ctx context.Context, id string, user isolation.User,
	act func(context.Context, transfer.Side) error) error {
	c, err := b.find(ctx, id)
	if err == nil && (user.UID >= slot.UIDsPerSlot || user.GID >= slot.UIDsPerSlot) {
		err = fmt.Errorf("a container has no account %d:%d", user.UID, user.GID)
	}
	var root *os.File
	if err == nil {
		root, err = c.openRoot()
	}
	if err != nil {
		return fmt.Errorf("box: files of %s: %w", id, err)
	}
	defer root.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-c.init.Done():
			cancel(isolation.ErrGone)
		case <-ctx.Done():
		}
	}()
	base := b.config.Plan.UID(c.spec.Slot)
	account := transfer.Account{UID: base + user.UID, GID: base + user.GID}
	if err := act(ctx, transfer.Side{Root: root, As: &account}); err != nil {
		return fmt.Errorf("box: files of %s: %w", id, err)
	}
	return nil
}

// openRoot takes hold of the container's root by PID 1's pid, and makes sure
// afterwards that the pid was still its own.
func (c *container) openRoot() (*os.File, error) {
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/root", c.init.PID()), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil, isolation.ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("open the root of process %d: %w", c.init.PID(), err)
	}
	root := os.NewFile(uintptr(fd), "/")
	dead, err := c.dead()
	if err == nil && dead {
		err = isolation.ErrGone
	}
	if err != nil {
		root.Close()
		return nil, err
	}
	return root, nil
}

// dead says whether PID 1 is, by the hold that no other process can get into.
func (c *container) dead() (dead bool, err error) {
	raw, err := c.init.PIDFD().SyscallConn()
	if err != nil {
		return false, err
	}
	controlled := raw.Control(func(fd uintptr) { dead, err = waitDeath(int(fd), 0) })
	return dead, errors.Join(controlled, err)
}
