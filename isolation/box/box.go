package box

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/cgroup"
	"github.com/deacon-agent/deacon/isolation/disk"
	"github.com/deacon-agent/deacon/isolation/guard/filter"
	"github.com/deacon-agent/deacon/isolation/initclient"
	"github.com/deacon-agent/deacon/isolation/launcher"
	"github.com/deacon-agent/deacon/isolation/network"
	"github.com/deacon-agent/deacon/isolation/rootfs"
	"github.com/deacon-agent/deacon/isolation/slot"
)

// Config is what a Box needs to know of its node.
type Config struct {
	State     string // absolute path of the state folder
	Init      string // path of the deacon-init program
	Plan      slot.Plan
	Network   network.Config // Plan is filled in
	Disk      disk.Config    // Dir is filled in
	OutputMax int64          // bytes kept of each output file where a job says nothing
	Took      Took           `json:"-"` // nil: nobody wants to know
}

// Box makes, keeps and destroys containers on one machine. Its methods are
// safe for concurrent use; what they say of one container holds only if its
// owner doesn't contradict itself.
type Box struct {
	config     Config
	containers string
	trash      string
	trashed    atomic.Int64
	emptying   sync.Mutex
	shelf      *shelf

	cgroups cgroup.Driver
	network *network.Network
	disk    disk.Driver
	dev     *os.File // the node's /dev template, a detached mount
	filter  []byte   // compiled seccomp program
	// workshop is where this kernel has to stack layers; nil where it copies
	// and stacks detached mounts as they are.
	workshop *rootfs.Workshop

	launching sync.Mutex
	launcher  *launcher.Launcher
	closed    bool // no launcher is started any more

	turns turns

	spares spares
	audits atomic.Uint32

	mu   sync.Mutex
	live map[string]*container
	// Notes say in words what this machine can't enforce and what was chosen
	// instead; the agent logs them once.
	Notes []string
}

// container is the agent's hold on one living PID 1. All of it can be had
// again from the spec and the socket.
type container struct {
	spec  isolation.Spec
	init  *initclient.Client
	group cgroup.Group
}

// Open prepares the machine: cgroup parents, disk pool, device template,
// launcher. It destroys nothing yet and starts nothing; Recover must be called
// before the first Create.
func Open(config Config) (_ *Box, err error) {
	b := &Box{
		config:     config,
		containers: filepath.Join(config.State, "containers"),
		trash:      filepath.Join(config.State, "trash"),
		turns:      turns{taken: map[string]chan struct{}{}},
		live:       map[string]*container{},
	}
	var undo isolation.Undo
	defer undo.OnError(&err)
	for _, dir := range []string{b.containers, b.trash} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return nil, fmt.Errorf("box: %w", err)
		}
	}
	spread(b.containers)
	if b.shelf, err = openShelf(filepath.Join(config.State, "shelf")); err != nil {
		return nil, fmt.Errorf("box: %w", err)
	}
	for _, part := range []func(*isolation.Undo) error{
		b.openCgroups, b.openDisk, b.openRootfs, b.openNetwork, b.openLauncher,
	} {
		if err := part(&undo); err != nil {
			return nil, fmt.Errorf("box: %w", err)
		}
	}
	return b, nil
}

func (b *Box) openCgroups(undo *isolation.Undo) error {
	driver, notes, err := cgroup.Detect(cgroup.Config{Group: b.config.Plan.Group()})
	if err != nil {
		return err
	}
	b.cgroups = driver
	b.Notes = append(b.Notes, notes...)
	undo.Push("cgroups", driver.Close)
	return driver.Prepare()
}

func (b *Box) openDisk(undo *isolation.Undo) error {
	config := b.config.Disk
	config.Dir = filepath.Join(b.config.State, "disk")
	driver, notes, err := disk.Open(config)
	if err != nil {
		return err
	}
	b.disk = driver
	b.Notes = append(b.Notes, notes...)
	undo.Push("disk", driver.Close)
	return nil
}

func (b *Box) openRootfs(undo *isolation.Undo) (err error) {
	if b.filter, err = filter.Compile(); err != nil {
		return err
	}
	if b.dev, err = rootfs.DevTemplate(); err != nil {
		return err
	}
	undo.Push("device template", b.dev.Close)
	probe, err := rootfs.Clone(b.dev)
	if err == nil {
		return probe.Close()
	}
	if !errors.Is(err, unix.EINVAL) {
		return err
	}
	if b.workshop, err = rootfs.OpenWorkshop(); err != nil {
		return err
	}
	undo.Push("workshop", b.workshop.Close)
	b.Notes = append(b.Notes, "this kernel can't copy or stack detached mounts (Linux 6.15): "+
		"each container gets a /dev of its own, and roots are stacked one at a time")
	return nil
}

// newDev is a container's /dev.
func (b *Box) newDev() (*os.File, error) {
	if b.workshop != nil {
		return rootfs.DevTemplate()
	}
	return rootfs.Clone(b.dev)
}

// newRoot is a container's root.
func (b *Box) newRoot(layers []*os.File, area disk.Area) (*os.File, error) {
	if b.workshop != nil {
		return b.workshop.Overlay(layers, area.Upper, area.Work)
	}
	return rootfs.Overlay(layers, area.Upper, area.Work)
}

func (b *Box) openNetwork(undo *isolation.Undo) (err error) {
	config := b.config.Network
	config.Plan = b.config.Plan
	var notes []string
	if b.network, notes, err = network.Open(config); err != nil {
		return err
	}
	b.Notes = append(b.Notes, notes...)
	undo.Push("network", b.network.Close)
	return nil
}

func (b *Box) openLauncher(*isolation.Undo) error {
	_, err := b.ensureLauncher()
	return err
}

// ensureLauncher returns the living launcher and starts another where it died:
// nothing depends on its life.
func (b *Box) ensureLauncher() (*launcher.Launcher, error) {
	b.launching.Lock()
	defer b.launching.Unlock()
	if b.closed {
		return nil, launcher.ErrDied
	}
	if b.launcher != nil {
		select {
		case <-b.launcher.Done():
			b.launcher.Close()
		default:
			return b.launcher, nil
		}
	}
	join, err := b.cgroups.InitJoin()
	if err != nil {
		return nil, err
	}
	defer join.Close()
	b.launcher, err = launcher.Start(launcher.Config{Init: b.config.Init, Join: join.Tasks})
	return b.launcher, err
}

// held returns the hold on a container; nil where there is none, or where it
// was lost.
func (b *Box) held(id string) *container {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c, ok := b.live[id]; ok && !c.init.Lost() {
		return c
	}
	return nil
}

// Containers lists every container that has an intent record, living or dead.
// A folder without a readable record is left to the next Recover.
func (b *Box) Containers(context.Context) ([]isolation.Spec, error) {
	specs, _, err := b.specs()
	return specs, err
}

// JobFolder is where the output of a container's job lies (isolation/output).
func (b *Box) JobFolder(id string, job uint32) string { return b.folder(id).job(job) }

func (b *Box) hold(c *container) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.live[c.spec.ID] = c
}

// let gives up the agent's hold; the container itself is not touched.
func (b *Box) let(id string) {
	b.mu.Lock()
	c := b.live[id]
	delete(b.live, id)
	b.mu.Unlock()
	if c != nil {
		c.init.Close()
	}
}

// Close lets everything go and leaves every container running. What nothing
// stands on any more, the kernel frees by itself; Remove takes the rest.
func (b *Box) Close() error {
	b.mu.Lock()
	ids := make([]string, 0, len(b.live))
	for id := range b.live {
		ids = append(ids, id)
	}
	b.mu.Unlock()
	for _, id := range ids {
		b.let(id)
	}
	err := errors.Join(b.spares.end(), b.closeLauncher(), b.dev.Close())
	if b.workshop != nil {
		err = errors.Join(err, b.workshop.Close())
	}
	return errors.Join(err, b.disk.Close(), b.network.Close())
}

// closeLauncher ends the last one: who is still being made gets no other.
func (b *Box) closeLauncher() error {
	b.launching.Lock()
	defer b.launching.Unlock()
	b.closed = true
	return b.launcher.Close()
}

// Remove takes away what the node has in the kernel beyond its containers,
// once the last of them is released.
func (b *Box) Remove() error {
	return errors.Join(b.network.Remove(), b.removeGroups(), b.emptyTrash())
}

// groupsTries times groupsPause is how long the node's own groups may be busy with
// PID 1s that are going: one that was being prepared when the node left finds
// its gate closed.
const (
	groupsTries = 200
	groupsPause = 10 * time.Millisecond
)

func (b *Box) removeGroups() (err error) {
	for range groupsTries {
		if err = b.cgroups.Close(); !errors.Is(err, unix.EBUSY) {
			return err
		}
		<-time.After(groupsPause)
	}
	return err
}
