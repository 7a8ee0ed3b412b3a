package box

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/cgroup"
	"github.com/deacon-agent/deacon/isolation/disk"
	"github.com/deacon-agent/deacon/isolation/initclient"
	"github.com/deacon-agent/deacon/isolation/initproto"
	"github.com/deacon-agent/deacon/isolation/network"
	"github.com/deacon-agent/deacon/isolation/rootfs"
	"github.com/deacon-agent/deacon/isolation/slot"
)

// shmBytes is the size of a container's /dev/shm. It counts as the container's
// memory, so it needs no limit of its own beyond a sane one.
const shmBytes = 64 << 20

// construction is one container while it is being made. Its parts are filled
// in by the steps below, each by one step.
type construction struct {
	box   *Box
	spec  isolation.Spec
	slot  slot.Slot
	undo  isolation.Undo
	watch *stopwatch

	gated    gated
	group    cgroup.Group
	area     disk.Area
	root     *os.File
	dev      *os.File
	layers   []*os.File
	binds    []*os.File
	listener *os.File
	files    jobFiles
	started  initproto.Started
}

// Create makes the container and, where job is given, starts it as the first
// one in the same round trip to PID 1. On error nothing of it is left.
func (b *Box) Create(ctx context.Context, spec isolation.Spec, job *isolation.Job) (_ isolation.Status, err error) {
	over, err := b.turns.take(ctx, spec.ID)
	if err != nil {
		return isolation.Status{}, fmt.Errorf("box: create %s: %w", spec.ID, err)
	}
	defer over()
	c := &construction{box: b, spec: spec, slot: slotOf(spec), watch: b.stopwatch("create")}
	defer c.watch.over(&err)
	// Who a name is, only the finished container can say.
	first, later := job, (*isolation.Job)(nil)
	if job != nil && job.User.Name != "" {
		first, later = nil, job
	}
	defer c.close()
	defer func() {
		c.undo.OnError(&err)
		if err != nil {
			err = fmt.Errorf("box: create %s: %w", spec.ID, err)
		}
	}()
	if err := context.Cause(ctx); err != nil {
		return isolation.Status{}, err
	}
	if err := c.gather(ctx, first); err != nil {
		return isolation.Status{}, err
	}
	if err := c.watch.time("init", func() error { return c.open(ctx, first) }); err != nil {
		return isolation.Status{}, err
	}
	return c.finish(ctx, later)
}

// gather makes all that PID 1 is to be given, each part as soon as what it needs
// is there. PID 1 itself is cloned beside the intent record, which comes before
// everything that could be left behind: a PID 1 at its gate goes with the agent.
func (c *construction) gather(ctx context.Context, job *isolation.Job) error {
	intended, cloned := newMilestone(), newMilestone()
	return together(
		intended.after(c.timed("intent", func() error { return c.intend(ctx) })),
		cloned.after(c.timed("clone", func() error { return c.clone(ctx, intended) })),
		intended.then(c.timed("cgroup", c.makeGroups)),
		intended.then(c.timed("files", func() error { return c.openFiles(job) })),
		cloned.then(intended.then(c.timed("network", func() error { return c.attach(ctx) }))),
		intended.then(func() error {
			if err := c.timed("disk", c.makeArea)(); err != nil {
				return err
			}
			return cloned.then(c.timed("rootfs", c.mount))()
		}),
	)
}

func (c *construction) timed(step string, act func() error) func() error {
	return func() error { return c.watch.time(step, act) }
}

// intend claims the container's folder. Only then is there anything to undo:
// the folder may be another's.
func (c *construction) intend(ctx context.Context) error {
	folder := c.box.folder(c.spec.ID)
	err := folder.intend(c.spec, c.box.shelf)
	if errors.Is(err, fs.ErrExist) {
		if gone, failed := c.box.giveWay(ctx, c.spec.ID); failed != nil {
			err = failed
		} else if gone {
			err = folder.intend(c.spec, c.box.shelf)
		}
	}
	if err != nil {
		return err
	}
	c.undo.Push("container "+c.spec.ID, c.abandon)
	return nil
}

// milestone is an act that others wait for.
type milestone struct {
	over chan struct{}
	err  error
}

func newMilestone() *milestone { return &milestone{over: make(chan struct{})} }

// after is the act that reaches it.
func (m *milestone) after(act func() error) func() error {
	return func() error {
		defer close(m.over)
		m.err = act()
		return m.err
	}
}

// then is an act that comes later, or not at all where it was not reached.
func (m *milestone) then(act func() error) func() error {
	return func() error {
		if err := m.wait(); err != nil {
			return err
		}
		return act()
	}
}

func (m *milestone) wait() error {
	<-m.over
	return m.err
}

// together runs acts at once and waits for all of them, also after a failure:
// what one of them is making must be known before it is undone.
func together(acts ...func() error) error {
	var group errgroup.Group
	for _, act := range acts {
		group.Go(act)
	}
	return group.Wait()
}

// clone takes the PID 1 that was prepared for the slot, or makes one.
func (c *construction) clone(ctx context.Context, intended *milestone) (err error) {
	if prepared, ok := c.box.spares.take(c.slot.Number); ok {
		c.gated = prepared
		return nil
	}
	// On v2 PID 1 is born in a group of the container's, so that comes first.
	join, err := c.initJoin(intended)
	if err != nil {
		return err
	}
	defer join.Close()
	c.gated, err = c.box.clone(ctx, c.slot.Number, join.Dir)
	return err
}

func (c *construction) initJoin(intended *milestone) (cgroup.Join, error) {
	if c.box.cgroups.Name() == "v1" {
		return cgroup.Join{}, nil
	}
	if err := intended.wait(); err != nil {
		return cgroup.Join{}, err
	}
	group, err := c.createGroups()
	if err != nil {
		return cgroup.Join{}, err
	}
	return group.InitJoin()
}

func (c *construction) createGroups() (cgroup.Group, error) {
	uid := c.box.config.Plan.UID(c.slot.Number)
	return c.box.cgroups.Create(c.box.config.Plan.Cgroup(c.slot), c.spec.Limits, uid)
}

func (c *construction) makeGroups() (err error) {
	c.group, err = c.createGroups()
	return err
}

func (c *construction) makeArea() (err error) {
	quota := disk.Quota{Bytes: c.spec.Limits.DiskBytes, Inodes: c.spec.Limits.DiskInodes}
	plan := c.box.config.Plan
	uid := plan.UID(c.slot.Number)
	if c.area, err = c.box.disk.Create(plan.Disk(c.slot), quota, uid); err != nil {
		return err
	}
	err = rootfs.WriteNames(c.area.Upper, uid, rootfs.Names{
		Hostname: c.hostname(), Address: plan.PeerIP(c.slot.Number), DNS: c.spec.Network.DNS,
	})
	if err == nil && c.spec.Rootfs.Account {
		err = rootfs.WriteAccount(c.area.Upper, uid, slot.UIDsPerSlot, c.spec.Rootfs.Layers)
	}
	return err
}

func (c *construction) openFiles(job *isolation.Job) (err error) {
	f := c.box.folder(c.spec.ID)
	if c.listener, err = initclient.Bind(f.socket()); err != nil {
		return err
	}
	if job == nil {
		return nil
	}
	c.files, err = f.openJob(*job, c.box.ownerOf(c.spec, *job))
	return err
}

func (c *construction) attach(ctx context.Context) error {
	return c.box.network.Attach(ctx, c.box.attachment(c.spec), c.gated.netns)
}

// mount makes every mount that PID 1 is to attach.
func (c *construction) mount() (err error) {
	for _, path := range c.spec.Rootfs.Layers {
		layer, err := rootfs.Layer(path, c.gated.userns, true)
		if err != nil {
			return err
		}
		c.layers = append(c.layers, layer)
	}
	if c.root, err = c.box.newRoot(c.layers, c.area); err != nil {
		return err
	}
	for _, bind := range c.spec.Rootfs.Binds {
		var userns *os.File
		if bind.Shifted {
			userns = c.gated.userns
		}
		mount, err := rootfs.Layer(bind.Source, userns, bind.ReadOnly)
		if err != nil {
			return err
		}
		c.binds = append(c.binds, mount)
	}
	c.dev, err = c.box.newDev()
	return err
}

// open sends PID 1 through the gate.
func (c *construction) open(ctx context.Context, job *isolation.Job) error {
	join, err := c.group.JobJoin()
	if err != nil {
		return err
	}
	defer join.Close()
	oom, err := c.group.OOMCounter()
	if err != nil {
		return err
	}
	defer oom.Close()
	setup := initproto.Setup{
		ID: c.spec.ID, Epoch: c.slot.Epoch, Hostname: c.hostname(), Filter: c.box.filter, ShmBytes: shmBytes,
		Join: initproto.JoinTasks, Joins: uint32(len(join.Files())), Link: c.link(),
	}
	if join.Dir != nil {
		setup.Join = initproto.JoinClone
	}
	files := []*os.File{c.root, c.dev, c.listener, oom}
	for i, bind := range c.spec.Rootfs.Binds {
		setup.Binds = append(setup.Binds, bind.Target)
		files = append(files, c.binds[i])
	}
	files = append(files, join.Files()...)
	if job != nil {
		encoded := c.box.encodeJob(*job)
		setup.Job = &encoded
		files = append(files, c.files.list()...)
	}
	c.started, err = c.gated.gate.Open(ctx, setup, files)
	return err
}

func (c *construction) hostname() string {
	if c.spec.Hostname != "" {
		return c.spec.Hostname
	}
	return c.spec.ID
}

func (c *construction) link() *initproto.Link {
	plan := c.box.config.Plan
	return &initproto.Link{
		Name: network.PeerName, Address: plan.PeerIP(c.slot.Number).As4(), Prefix: uint8(plan.Subnet(c.slot.Number).Bits()),
		Gateway: plan.HostIP(c.slot.Number).As4(),
	}
}

// finish connects to the PID 1 that now serves, as any later agent would, and
// starts the job that had to wait for it.
func (c *construction) finish(ctx context.Context, later *isolation.Job) (isolation.Status, error) {
	client, err := initclient.Dial(ctx, c.box.folder(c.spec.ID).socket())
	if err != nil {
		return isolation.Status{}, err
	}
	kept := &container{spec: c.spec, init: client, group: c.group}
	c.box.hold(kept)
	if later != nil {
		if _, err := c.box.spawn(ctx, kept, *later); err != nil {
			c.box.let(c.spec.ID)
			return isolation.Status{}, fmt.Errorf("spawn job %d: %w", later.Number, err)
		}
	}
	status := c.box.status(kept)
	status.Steps = c.watch.steps()
	return status, nil
}

// close lets go of what PID 1 has its own copies of; it may be repeated. The
// layers come last and not before the container runs: the end of a detached
// mount is a grace period.
func (c *construction) close() {
	c.gated.close()
	c.area.Close()
	c.files.close()
	closeAll(append(c.binds, c.root, c.dev, c.listener))
	go closeAll(c.layers)
	c.layers = nil
}

func closeAll(files []*os.File) {
	for _, file := range files {
		if file != nil {
			file.Close()
		}
	}
}

// abandon is the undo of everything: killed, let go of, taken out of the table,
// removed. It is done to the end also where the caller's context is over.
func (c *construction) abandon() error {
	var failed error
	if c.gated.born.PIDFD != nil {
		failed = killAndWait(int(c.gated.born.PIDFD.Fd()))
	}
	// The link stays for as long as we hold its namespace. A PID 1 that the
	// launcher makes after we gave up finds its gate closed and goes by itself.
	c.close()
	return errors.Join(failed, c.box.release(context.Background(), []string{c.spec.ID}))
}
