package box

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/initclient"
	"github.com/deacon-agent/deacon/isolation/network"
	"github.com/deacon-agent/deacon/isolation/slot"
)

func slotOf(spec isolation.Spec) slot.Slot { return slot.Slot{Number: spec.Slot, Epoch: spec.Epoch} }

func (b *Box) attachment(spec isolation.Spec) network.Attachment {
	return network.Attachment{Slot: slotOf(spec), Spec: spec.Network}
}

// Adopt takes hold of a container that lives, whoever started it.
// isolation.ErrGone says that its PID 1 is dead: what it left is still to be
// destroyed and released, and Wait still tells how its jobs ended.
// isolation.ErrUnknown says that there is none.
func (b *Box) Adopt(ctx context.Context, id string) (isolation.Status, error) {
	c, err := b.find(ctx, id)
	if err != nil {
		return isolation.Status{}, fmt.Errorf("box: adopt %s: %w", id, err)
	}
	return b.status(c), nil
}

// find returns the hold on a container, connecting where there is none.
func (b *Box) find(ctx context.Context, id string) (*container, error) {
	if c := b.held(id); c != nil {
		return c, nil
	}
	over, err := b.turns.take(ctx, id)
	if err != nil {
		return nil, err
	}
	defer over()
	spec, err := b.folder(id).spec()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, isolation.ErrUnknown
	}
	if err != nil {
		return nil, err
	}
	return b.reach(ctx, spec)
}

// reach is find for whoever has the container's turn. It is PID 1 only if it
// says so itself, with this id and epoch.
func (b *Box) reach(ctx context.Context, spec isolation.Spec) (*container, error) {
	if c := b.held(spec.ID); c != nil {
		return c, nil
	}
	b.let(spec.ID)
	client, err := initclient.Dial(ctx, b.folder(spec.ID).socket())
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return nil, isolation.ErrGone
	}
	if err != nil {
		return nil, err
	}
	if hello := client.Hello(); hello.ID != spec.ID || hello.Epoch != spec.Epoch {
		client.Close()
		return nil, fmt.Errorf("%s epoch %d answers on its socket", hello.ID, hello.Epoch)
	}
	group, err := b.cgroups.Open(b.config.Plan.Cgroup(slotOf(spec)))
	if err != nil {
		client.Close()
		return nil, err
	}
	c := &container{spec: spec, init: client, group: group}
	b.hold(c)
	return c, nil
}

func (b *Box) status(c *container) isolation.Status {
	status := isolation.Status{
		Spec: c.spec, InitPID: c.init.PID(),
		HostIP: b.config.Plan.HostIP(c.spec.Slot), PeerIP: b.config.Plan.PeerIP(c.spec.Slot),
	}
	for _, job := range c.init.Hello().Jobs {
		js := isolation.JobStatus{Number: job.Number, PID: int(job.PID)}
		if job.Exit != nil {
			exit := exitOf(*job.Exit)
			js.Exit = &exit
		}
		status.Jobs = append(status.Jobs, js)
	}
	return status
}

// Recover is what every start begins with: it reads the folders, adopts every
// container whose PID 1 answers, rewrites the table with exactly those, and
// destroys what in the kernel carries the node's name without a folder. It
// returns the specs of all containers that have one, living or dead.
func (b *Box) Recover(ctx context.Context) ([]isolation.Spec, error) {
	specs, damaged, err := b.specs()
	if err != nil {
		return nil, err
	}
	for _, d := range damaged {
		b.Notes = append(b.Notes, fmt.Sprintf("container folder %s is removed: %v", d.id, d.err))
		if err := b.discard(d.id); err != nil {
			return nil, fmt.Errorf("box: recover: %w", err)
		}
	}
	var live []network.Attachment
	for _, spec := range specs {
		if _, err := b.reach(ctx, spec); err == nil {
			live = append(live, b.attachment(spec))
		} else if !errors.Is(err, isolation.ErrGone) {
			b.Notes = append(b.Notes, fmt.Sprintf("container %s does not answer and will be destroyed: %v", spec.ID, err))
		}
	}
	if err := b.network.Restore(live); err != nil {
		return nil, fmt.Errorf("box: recover: %w", err)
	}
	if err := b.sweep(specs, live); err != nil {
		return nil, fmt.Errorf("box: recover: %w", err)
	}
	return specs, nil
}

// damage is a container's folder without a readable intent record.
type damage struct {
	id  string
	err error
}

// specs reads the intent records. A folder without a readable one belongs to a
// container that never began (its record is written first), or to one whose
// record was damaged: then nothing can be known of it, and it goes with the
// orphans.
func (b *Box) specs() (specs []isolation.Spec, damaged []damage, err error) {
	entries, err := os.ReadDir(b.containers)
	if err != nil {
		return nil, nil, fmt.Errorf("box: %w", err)
	}
	for _, entry := range entries {
		if !slot.ValidID(entry.Name()) {
			continue
		}
		spec, err := b.folder(entry.Name()).spec()
		if err == nil && spec.ID != entry.Name() {
			err = fmt.Errorf("its record is that of %s", spec.ID)
		}
		if err != nil {
			damaged = append(damaged, damage{entry.Name(), err})
			continue
		}
		specs = append(specs, spec)
	}
	return specs, damaged, nil
}

// sweep removes what a dead agent left in the middle of something.
func (b *Box) sweep(specs []isolation.Spec, live []network.Attachment) error {
	var owned []string
	for _, spec := range specs {
		owned = append(owned, slotOf(spec).String())
	}
	err := errors.Join(b.killOrphans(), b.network.Sweep(live))
	for _, part := range []struct {
		list   func() ([]string, error)
		remove func(string) error
	}{{b.cgroups.List, b.cgroups.Remove}, {b.disk.List, b.disk.Discard}} {
		names, failed := part.list()
		err = errors.Join(err, failed)
		for _, name := range names {
			if _, ours := slot.Parse(name); ours && !slices.Contains(owned, name) {
				err = errors.Join(err, part.remove(name))
			}
		}
	}
	return errors.Join(err, b.emptyTrash())
}

// killOrphans ends every process that lives where inits do and is neither the
// launcher nor a PID 1 that answered. Only the node's own groups are looked
// at, so no process of anybody else's can be among them.
func (b *Box) killOrphans() error {
	pids, err := b.cgroups.Inits()
	if err != nil {
		return err
	}
	// The agent itself shows up while the thread that started the launcher,
	// and joined its groups for that, has not quite ended.
	known := []int{os.Getpid(), b.launcher.PID()}
	b.mu.Lock()
	for _, c := range b.live {
		known = append(known, c.init.PID())
	}
	b.mu.Unlock()
	var failed error
	for _, pid := range pids {
		if pid == 0 || slices.Contains(known, pid) {
			continue
		}
		pidfd, err := unix.PidfdOpen(pid, 0)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		failed = errors.Join(failed, killAndWait(pidfd), unix.Close(pidfd))
	}
	return failed
}
