package box

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/initclient"
	"github.com/deacon-agent/deacon/isolation/initproto"
)

// encodeJob turns a job into PID 1's words.
func (b *Box) encodeJob(job isolation.Job) initproto.Job {
	most := job.OutputMax
	if most == 0 {
		most = b.config.OutputMax
	}
	return initproto.Job{
		Number: job.Number, Argv: job.Argv, Env: job.Env, Dir: job.Dir,
		UID: job.User.UID, GID: job.User.GID, Groups: job.User.Groups, Umask: job.Umask,
		Files: job.Files, Procs: job.Procs, PidFile: job.PidFile, OutputMax: uint64(max(most, 0)),
		Fallback: job.Fallback,
	}
}

func exitOf(e initproto.Exit) isolation.Exit {
	return isolation.Exit{
		Job: e.Job, Code: int(e.Code), Signal: int(e.Signal), OOMKills: e.OOMKills, Ordered: e.Ordered, At: e.At,
	}
}

// Spawn starts a further job in a living container.
func (b *Box) Spawn(ctx context.Context, id string, job isolation.Job) error {
	c, err := b.find(ctx, id)
	if err != nil {
		return fmt.Errorf("box: spawn job %d in %s: %w", job.Number, id, err)
	}
	owner := int(b.config.Plan.UID(c.spec.Slot) + job.User.UID)
	files, err := b.folder(id).openJob(job.Number, owner)
	if err != nil {
		return fmt.Errorf("box: spawn job %d in %s: %w", job.Number, id, err)
	}
	defer files.close()
	if _, err := c.init.Spawn(ctx, b.encodeJob(job), files.list()); err != nil {
		return fmt.Errorf("box: spawn job %d in %s: %w", job.Number, id, err)
	}
	return nil
}

// Wait returns when the job has ended. Where PID 1 died, the record that it
// wrote before speaks for it; where there is none, the exit is lost.
func (b *Box) Wait(ctx context.Context, id string, job uint32) (isolation.Exit, error) {
	for {
		c, err := b.find(ctx, id)
		if nobody(err) {
			return b.recordedExit(id, job), nil
		}
		var exit initproto.Exit
		if err == nil {
			exit, err = c.init.Wait(ctx, job)
		}
		switch {
		case err == nil:
			return exitOf(exit), nil
		case errors.Is(err, initclient.ErrLost): // either PID 1 is gone, or it let us go
		default:
			return isolation.Exit{}, fmt.Errorf("box: wait for job %d of %s: %w", job, id, err)
		}
	}
}

// nobody says that there is no PID 1 to ask.
func nobody(err error) bool {
	return errors.Is(err, isolation.ErrGone) || errors.Is(err, isolation.ErrUnknown)
}

func (b *Box) recordedExit(id string, job uint32) isolation.Exit {
	content, err := os.ReadFile(b.folder(id).exit(job))
	if err == nil {
		if exit, err := initproto.DecodeExit(content); err == nil {
			return exitOf(exit)
		}
	}
	return isolation.Exit{Job: job, Code: -1, Lost: true}
}

// WaitOOM returns when the kernel has killed more than seen of the container's
// processes for want of memory, and how many those are. isolation.ErrGone says
// that PID 1 died meanwhile: there will be no more.
func (b *Box) WaitOOM(ctx context.Context, id string, seen uint64) (uint64, error) {
	c, err := b.find(ctx, id)
	if err != nil {
		return 0, fmt.Errorf("box: watch the memory of %s: %w", id, err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-c.init.Done():
			cancel(isolation.ErrGone)
		case <-ctx.Done():
		}
	}()
	kills, err := c.group.WaitOOM(ctx, seen)
	if err != nil {
		return 0, fmt.Errorf("box: watch the memory of %s: %w", id, err)
	}
	return kills, nil
}

// Stop ends every job: SIGTERM at once and each second, SIGKILL after grace.
// PID 1 does it, so it is done even if the agent dies meanwhile. A container
// whose PID 1 is dead is stopped.
func (b *Box) Stop(ctx context.Context, id string, grace time.Duration) error {
	for {
		c, err := b.find(ctx, id)
		if nobody(err) {
			return nil
		}
		if err == nil {
			err = c.init.Stop(ctx, grace)
		}
		switch {
		case err == nil:
			return nil
		case errors.Is(err, initclient.ErrLost): // either PID 1 is gone, or it let us go
		default:
			return fmt.Errorf("box: stop %s: %w", id, err)
		}
	}
}

// Usage reads what the container's jobs use, from the kernel's counters.
func (b *Box) Usage(ctx context.Context, id string) (isolation.Usage, error) {
	c, err := b.find(ctx, id)
	if err != nil {
		return isolation.Usage{}, fmt.Errorf("box: usage of %s: %w", id, err)
	}
	usage, err := c.group.Usage()
	if err != nil {
		return isolation.Usage{}, fmt.Errorf("box: usage of %s: %w", id, err)
	}
	// The disk's figure is missing where a driver can't tell; the rest is worth having.
	usage.DiskBytes, _ = b.disk.Usage(b.config.Plan.Disk(slotOf(c.spec)))
	return usage, nil
}

// Probe makes one TCP connection from the node and closes it.
func (b *Box) Probe(ctx context.Context, address netip.AddrPort) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address.String())
	if err != nil {
		return err
	}
	return conn.Close()
}
