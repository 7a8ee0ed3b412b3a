package box

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/initclient"
	"github.com/deacon-agent/deacon/isolation/initproto"
	"github.com/deacon-agent/deacon/isolation/rootfs"
	"github.com/deacon-agent/deacon/isolation/slot"
)

// encodeJob turns a job into PID 1's words.
func (b *Box) encodeJob(job isolation.Job) initproto.Job {
	most := job.OutputMax
	if most == 0 {
		most = b.config.OutputMax
	}
	if job.Discard {
		most = 0
	}
	return initproto.Job{
		Number: job.Number, Argv: job.Argv, Env: job.Env, Dir: job.Dir,
		UID: job.User.UID, GID: job.User.GID, Groups: job.User.Groups, Umask: job.Umask,
		Rlimits: rlimits(job), PidFile: job.PidFile, OutputMax: uint64(max(most, 0)),
		Fallback: job.Fallback,
	}
}

func rlimits(job isolation.Job) (limits []initproto.Rlimit) {
	if job.Files != 0 {
		limits = append(limits, initproto.Rlimit{Resource: unix.RLIMIT_NOFILE, Value: job.Files})
	}
	if job.Procs != 0 {
		limits = append(limits, initproto.Rlimit{Resource: unix.RLIMIT_NPROC, Value: job.Procs})
	}
	for _, r := range job.Rlimits {
		limits = append(limits, initproto.Rlimit{Resource: uint32(r.Resource), Value: r.Value})
	}
	return limits
}

func exitOf(e initproto.Exit) isolation.Exit {
	return isolation.Exit{
		Job: e.Job, Code: int(e.Code), Signal: int(e.Signal), OOMKills: e.OOMKills, Ordered: e.Ordered, At: e.At,
	}
}

// Spawn starts a further job in a living container. A number is used once in a
// container's life, also by a job that was forgotten.
func (b *Box) Spawn(ctx context.Context, id string, job isolation.Job) error {
	c, err := b.find(ctx, id)
	if err == nil {
		_, err = b.spawn(ctx, c, job)
	}
	if err != nil {
		return fmt.Errorf("box: spawn job %d in %s: %w", job.Number, id, err)
	}
	return nil
}

func (b *Box) spawn(ctx context.Context, c *container, job isolation.Job) (initproto.Started, error) {
	if err := b.whois(c, &job); err != nil {
		return initproto.Started{}, err
	}
	f := b.folder(c.spec.ID)
	files, err := f.openJob(job, b.ownerOf(c.spec, job))
	if err != nil {
		return initproto.Started{}, err
	}
	defer files.close()
	started, err := c.init.Spawn(ctx, b.encodeJob(job), files.list())
	if _, refused := errors.AsType[*initclient.FailedError](err); refused || errors.Is(err, initclient.ErrTooOld) {
		err = errors.Join(err, os.RemoveAll(f.job(job.Number))) // it never was
	}
	return started, err
}

// ownerOf is the job's user as the node numbers it.
func (b *Box) ownerOf(spec isolation.Spec, job isolation.Job) int {
	return int(b.config.Plan.UID(spec.Slot) + job.User.UID)
}

// Account looks a name up in the container's own /etc/passwd, as a job's
// User.Name is: ids as they are inside.
func (b *Box) Account(ctx context.Context, id, name string) (uid, gid uint32, home string, err error) {
	var account rootfs.Account
	c, err := b.find(ctx, id)
	if err == nil {
		account, err = c.account(name)
	}
	if err != nil {
		return 0, 0, "", fmt.Errorf("box: account %s of %s: %w", name, id, err)
	}
	return account.UID, account.GID, account.Home, nil
}

// whois makes the job's user the account that it names.
func (b *Box) whois(c *container, job *isolation.Job) error {
	if job.User.Name == "" {
		return nil
	}
	account, err := c.account(job.User.Name)
	if err != nil {
		return err
	}
	job.User.UID, job.User.GID = account.UID, account.GID
	if job.Dir == "" {
		job.Dir = account.Home
	}
	return nil
}

// account asks the container's root as PID 1 has it, which is the only one who
// knows what the layers and the writable folder make together.
func (c *container) account(name string) (rootfs.Account, error) {
	root, err := c.root()
	if err != nil {
		return rootfs.Account{}, err
	}
	defer root.Close()
	return rootfs.FindAccount(root, name, slot.UIDsPerSlot)
}

func (c *container) root() (*os.File, error) {
	root, err := os.OpenFile(fmt.Sprintf("/proc/%d/root", c.init.PID()), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, errors.Join(isolation.ErrGone, err)
	}
	// The pid was PID 1's own if that lives now.
	if dead, err := waitDeath(int(c.init.PIDFD().Fd()), 0); err != nil || dead {
		root.Close()
		return nil, errors.Join(isolation.ErrGone, err)
	}
	return root, nil
}

// Wait returns when the job has ended. Where PID 1 doesn't run it, the record
// that it wrote before speaks for it, and where there is none isolation.ErrNoJob
// says so. Where PID 1 died without one, the exit is lost.
func (b *Box) Wait(ctx context.Context, id string, job uint32) (isolation.Exit, error) {
	for {
		c, err := b.find(ctx, id)
		if nobody(err) {
			return b.lastExit(id, job), nil
		}
		var exit initproto.Exit
		if err == nil && b.folder(id).forgot(job) {
			err = isolation.ErrNoJob // which PID 1 may still tell of
		}
		if err == nil {
			exit, err = c.init.Wait(ctx, job)
		}
		if errors.Is(err, initclient.ErrNotRunning) {
			exit, err = b.recordedExit(id, job)
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

// recordedExit reads the record of a job that has ended. An empty one is of a
// job that an agent died over before it asked for it.
func (b *Box) recordedExit(id string, job uint32) (initproto.Exit, error) {
	content, err := os.ReadFile(b.folder(id).exit(job))
	if err == nil {
		exit, err := initproto.DecodeExit(content)
		if err == nil && exit.Job == job {
			return exit, nil
		}
	}
	return initproto.Exit{}, isolation.ErrNoJob
}

// lastCount is how many of a dead container's processes the kernel killed for
// want of memory: its group stands until it is released. 0 where it doesn't.
func (b *Box) lastCount(id string) uint64 {
	spec, err := b.folder(id).spec()
	if err != nil {
		return 0
	}
	group, err := b.cgroups.Open(b.config.Plan.Cgroup(slotOf(spec)))
	if err != nil {
		return 0
	}
	usage, err := group.Usage()
	if err != nil {
		return 0
	}
	return usage.OOMKills
}

// lastExit is how a job of a dead PID 1 ended. Where PID 1 could not record it,
// the kernel's count still says whether memory was the reason.
func (b *Box) lastExit(id string, job uint32) isolation.Exit {
	exit, err := b.recordedExit(id, job)
	if err != nil {
		return isolation.Exit{Job: job, Code: -1, Lost: true, OOMKills: b.lastCount(id)}
	}
	return exitOf(exit)
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
