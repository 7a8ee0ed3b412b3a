package box

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/network"
)

// deathMax is how long the kernel may take from SIGKILL until the last process
// of a pid namespace is gone. Only a process stuck in a device outlives it.
const deathMax = 10 * time.Second

// deathPause is between two looks for who is left where no process tells of it.
const deathPause = time.Millisecond

// Destroy ends the container: when it returns, every process is dead and the
// mapped ports refuse. What that leaves in the kernel and on disk is Release's.
// Destroying what is already destroyed succeeds.
func (b *Box) Destroy(ctx context.Context, id string) (err error) {
	over, err := b.turns.take(ctx, id)
	if err != nil {
		return fmt.Errorf("box: destroy %s: %w", id, err)
	}
	defer over()
	spec, err := b.doomed(id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("box: destroy %s: %w", id, err)
	}
	watch := b.stopwatch("destroy")
	defer watch.over(&err)
	// Refusing and killing need nothing of one another.
	refused := make(chan error, 1)
	go func() {
		refused <- watch.time("refuse", func() error { return b.network.Refuse(b.attachment(spec)) })
	}()
	err = watch.time("kill", func() error { return b.kill(ctx, spec) })
	if err = errors.Join(err, <-refused); err != nil {
		return fmt.Errorf("box: destroy %s: %w", id, err)
	}
	b.let(id)
	return nil
}

// doomed is the spec of a container that is to be destroyed. Where somebody took
// its record away, one that is held is known by heart: it gets another, or what
// is to be released after it is dead would never be found.
func (b *Box) doomed(id string) (isolation.Spec, error) {
	spec, err := b.folder(id).spec()
	c := b.held(id)
	if err == nil || c == nil {
		return spec, err
	}
	return c.spec, b.recordAgain(c.spec)
}

// kill ends PID 1, and with it its pid namespace: the kernel kills and reaps
// every process inside before PID 1's own end is seen.
func (b *Box) kill(ctx context.Context, spec isolation.Spec) error {
	c, err := b.reach(ctx, spec)
	if errors.Is(err, isolation.ErrGone) {
		return b.awaitDeath(ctx, spec)
	}
	if err != nil {
		return err
	}
	return killAndWait(int(c.init.PIDFD().Fd()))
}

// awaitDeath waits for the processes of a PID 1 that answers no more: its socket
// is closed early in its own end, before the kernel kills those inside, and one
// that has much memory to give back takes its time.
func (b *Box) awaitDeath(ctx context.Context, spec isolation.Spec) error {
	group, err := b.cgroups.Open(b.config.Plan.Cgroup(slotOf(spec)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, deathMax)
	defer cancel()
	for {
		pids, err := group.Processes()
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
			return nil // only one that is empty can be removed
		}
		if err != nil || len(pids) == 0 {
			return err
		}
		select {
		case <-time.After(deathPause):
		case <-ctx.Done():
			return fmt.Errorf("their init is dead, processes %v are not: %w", pids, context.Cause(ctx))
		}
	}
}

func killAndWait(pidfd int) error {
	if err := unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill the init: %w", err)
	}
	dead, err := waitDeath(pidfd, deathMax)
	if err != nil {
		return err
	}
	if !dead {
		return fmt.Errorf("the init is not dead %s after SIGKILL", deathMax)
	}
	return nil
}

// waitDeath polls a pidfd: it becomes readable when the process has ended.
func waitDeath(pidfd int, limit time.Duration) (bool, error) {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, int(limit.Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("wait for the init's end: %w", err)
		}
		return n > 0, nil
	}
}

// Release takes back what Destroy left: table elements and connection-tracking
// entries (one batch for all, because a deletion costs a grace period), links,
// cgroups, upper folders and at last the containers' own folders. After it the
// slots may be used again. Every step goes on after an error, and a container
// that could not be released whole keeps its folder, so that it is tried again.
func (b *Box) Release(ctx context.Context, ids []string) error {
	over, err := b.turns.takeAll(ctx, ids)
	if err != nil {
		return fmt.Errorf("box: release: %w", err)
	}
	defer over()
	return b.release(ctx, ids)
}

// release is Release for whoever has the containers' turns.
func (b *Box) release(ctx context.Context, ids []string) (err error) {
	watch := b.stopwatch("release")
	defer watch.over(&err)
	var specs []isolation.Spec
	var attachments []network.Attachment
	var failed error
	for _, id := range ids {
		spec, err := b.folder(id).spec()
		switch {
		case errors.Is(err, fs.ErrNotExist): // released before
		case err != nil:
			failed = errors.Join(failed, fmt.Errorf("release %s: %w", id, err))
		default:
			specs = append(specs, spec)
			attachments = append(attachments, b.attachment(spec))
		}
	}
	release := func() error { return b.network.Release(ctx, attachments) }
	if err := watch.time("network", release); err != nil {
		return fmt.Errorf("box: %w", errors.Join(failed, err))
	}
	for _, spec := range specs {
		if err := watch.time("remove", func() error { return b.releaseOne(spec) }); err != nil {
			failed = errors.Join(failed, fmt.Errorf("release %s: %w", spec.ID, err))
		}
	}
	failed = errors.Join(failed, watch.time("disk", func() error { return b.disk.Reclaim(ctx) }),
		watch.time("trash", b.emptyTrash))
	if failed != nil {
		return fmt.Errorf("box: %w", failed)
	}
	return nil
}

func (b *Box) releaseOne(spec isolation.Spec) error {
	s := slotOf(spec)
	err := errors.Join(
		b.cgroups.Remove(b.config.Plan.Cgroup(s)),
		b.disk.Discard(b.config.Plan.Disk(s)),
	)
	if err != nil {
		return err
	}
	return b.discard(spec.ID)
}
