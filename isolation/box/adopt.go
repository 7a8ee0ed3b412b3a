package box

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/initclient"
	"github.com/deacon-agent/deacon/isolation/network"
	"github.com/deacon-agent/deacon/isolation/record"
	"github.com/deacon-agent/deacon/isolation/slot"
)

const (
	// askMax is how long Recover asks containers that don't answer at once.
	askMax = 10 * time.Second
	// askPause lies between two questions to one that could not be asked.
	askPause = 100 * time.Millisecond
)

// errForeign says that who answers on a container's socket is not its PID 1.
var errForeign = errors.New("another answers on its socket")

func slotOf(spec isolation.Spec) slot.Slot { return slot.Slot{Number: spec.Slot, Epoch: spec.Epoch} }

// attachment calls a container in the kernel's log as it calls itself: an
// application's by its instance, which is what people look for.
func (b *Box) attachment(spec isolation.Spec) network.Attachment {
	return network.Attachment{
		Slot: slotOf(spec), Spec: spec.Network, Bandwidth: spec.Limits.Bandwidth,
		Name: fmt.Sprintf("%s-%s", spec.Owner, cmp.Or(spec.Hostname, spec.ID)),
	}
}

// Adopt takes hold of a container that lives, whoever started it.
// isolation.ErrGone says that its PID 1 is dead: what it left is still to be
// destroyed and released, and Wait still tells how its jobs ended; or it never
// began (isolation.ErrUnbegun), and can be created again.
// isolation.ErrUnknown says that there is none.
func (b *Box) Adopt(ctx context.Context, id string) (isolation.Status, error) {
	c, err := b.find(ctx, id)
	if errors.Is(err, isolation.ErrGone) && b.folder(id).unbegun() {
		err = isolation.ErrUnbegun
	}
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
	c, err := b.reach(ctx, spec)
	if err != nil {
		return nil, err
	}
	// Where it can't be done it stays to be done, and what is asked now can be.
	_ = b.catchUp(ctx, c)
	return c, nil
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
		return nil, fmt.Errorf("%w: %s epoch %d", errForeign, hello.ID, hello.Epoch)
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
	for _, job := range c.init.Jobs() {
		if isSession(job.Number) || job.Exit != nil && b.folder(c.spec.ID).forgot(job.Number) {
			continue
		}
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
//
// A container that could not be asked for askMax may be in the best of health:
// it keeps its place in the table, and as nobody knows which process is its
// PID 1, none is killed until a later Recover can ask them all.
func (b *Box) Recover(ctx context.Context) ([]isolation.Spec, error) { return b.recover(ctx, askMax) }

func (b *Box) recover(ctx context.Context, patience time.Duration) ([]isolation.Spec, error) {
	specs, damaged, err := b.specs()
	if err != nil {
		return nil, err
	}
	if err := b.settlePorts(ctx, specs); err != nil {
		return nil, fmt.Errorf("box: recover: %w", err)
	}
	found, err := b.askAll(ctx, specs, patience)
	if err != nil {
		return nil, fmt.Errorf("box: recover: %w", err)
	}
	for _, d := range damaged {
		b.Notes = append(b.Notes, fmt.Sprintf("container folder %s is removed: %v", d.id, d.err))
		if err := b.discard(d.id); err != nil {
			return nil, fmt.Errorf("box: recover: %w", err)
		}
	}
	if err := b.network.Restore(found.kept); err != nil {
		return nil, fmt.Errorf("box: recover: %w", err)
	}
	if err := b.sweep(specs, found); err != nil {
		return nil, fmt.Errorf("box: recover: %w", err)
	}
	b.catchUpAll(ctx, specs)
	return specs, nil
}

// census is what became of asking every container.
type census struct {
	kept []network.Attachment // of those that live, or may
	mute int                  // how many of them could not be asked
}

// askAll adopts whoever answers. All are asked at the same time, so that those
// who don't answer hold up nobody. When ctx ends before every answer is in,
// nothing is known for certain and its cause is returned.
func (b *Box) askAll(ctx context.Context, specs []isolation.Spec, patience time.Duration) (census, error) {
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answers := make([]error, len(specs))
	damage := make([][]string, len(specs))
	var asking sync.WaitGroup
	for i, spec := range specs {
		asking.Go(func() {
			answers[i] = b.ask(bounded, spec)
			damage[i] = b.inspect(spec)
		})
	}
	asking.Wait()
	if ctx.Err() != nil {
		return census{}, context.Cause(ctx)
	}
	var found census
	for i, spec := range specs {
		b.Notes = append(b.Notes, damage[i]...)
		switch err := answers[i]; {
		case err == nil:
			found.kept = append(found.kept, b.attachment(spec))
		case errors.Is(err, isolation.ErrGone): // its owner takes back what it left
		case final(err):
			b.Notes = append(b.Notes, fmt.Sprintf("container %s does not answer and will be destroyed: %v", spec.ID, err))
		default:
			found.kept = append(found.kept, b.attachment(spec))
			found.mute++
			b.Notes = append(b.Notes, fmt.Sprintf("container %s could not be asked and is left as it is: %v", spec.ID, err))
		}
	}
	return found, nil
}

// ask is reach for as long as ctx lasts. That PID 1's queue is full, that it
// takes its time, or that this process has no descriptor left, says nothing of
// the container.
func (b *Box) ask(ctx context.Context, spec isolation.Spec) error {
	for {
		_, err := b.reach(ctx, spec)
		if err == nil || final(err) || errors.Is(err, initclient.ErrTooNew) { // which asking again doesn't change
			return err
		}
		select {
		case <-time.After(askPause):
		case <-ctx.Done():
			return err
		}
	}
}

// final says whether an error of reach is the truth about the container: its
// PID 1 is dead, is another's, or has no groups that a job could live in.
func final(err error) bool {
	return errors.Is(err, isolation.ErrGone) || errors.Is(err, errForeign) || errors.Is(err, fs.ErrNotExist)
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
		f := b.folder(entry.Name())
		spec, err := f.spec()
		if former, found := f.former(entry.Name(), err); found {
			b.Notes = append(b.Notes, fmt.Sprintf("%v: what it said before its last change holds again", err))
			spec, err = former, b.recordAgain(former)
		}
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

// former is what a damaged record was before it was replaced the last time. The
// file may be there and be that of another container.
func (f folder) former(id string, err error) (spec isolation.Spec, found bool) {
	if !errors.Is(err, record.ErrCorrupt) {
		return spec, false
	}
	err = record.LoadSpare(string(f), specRecord, &spec)
	return spec, err == nil && spec.ID == id
}

// sweep removes what a dead agent left in the middle of something. Where a
// container could not be asked, only links go: groups and areas may be those
// of a process that must not be killed yet.
func (b *Box) sweep(specs []isolation.Spec, found census) error {
	if found.mute > 0 {
		b.Notes = append(b.Notes, fmt.Sprintf("%d containers could not be asked: "+
			"processes without a container are ended at a later start", found.mute))
		return errors.Join(b.network.Sweep(found.kept), b.emptyTrash())
	}
	var owned []string
	for _, spec := range specs {
		owned = append(owned, slotOf(spec).String())
	}
	err := errors.Join(b.killOrphans(), b.network.Sweep(found.kept))
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
