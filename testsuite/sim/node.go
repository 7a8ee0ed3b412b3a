package sim

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/slot"
	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/testsuite/model"
)

// What the node has: little, so that it runs out.
const (
	memoryMiB = 1024
	diskMiB   = 4096
	portFirst = 20000
	portLast  = 20011
	slots     = 8
	pool      = "10.254.0.0/27"
)

var dawn = time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)

// node is a machine with what outlives any agent on it, and the agent that is
// on it now, if one is.
type node struct {
	clock    *kit.ManualClock
	skew     time.Duration // of the clock that the agent reads
	kernel   *model.Kernel
	droplets *model.Droplets
	store    *store
	settings actors.Settings
	seed     uint64
	sink     actors.Sink
	clients  actors.Clients
	hook     func(kit.Turn)
	publish  func(context.Context, actors.OutputSource, int) error
	log      hclog.Logger

	tree  *actors.Tree // nil: no agent is there
	loom  *loom
	over  func() // ends a shutdown under way
	lives int
	boots int
	ids   int
	turns int
}

func newNode(seed uint64) *node {
	n := &node{
		clock: kit.NewManualClock(dawn), kernel: model.NewKernel(), droplets: &model.Droplets{Takes: 50 * time.Millisecond},
		store: newStore(), settings: actors.DefaultSettings(), seed: seed, log: hclog.NewNullLogger(),
	}
	n.settings.Copies = 1000 // more would wait on a real channel
	n.kernel.Memory, n.kernel.Strict = memoryMiB<<20, true
	n.loom = newLoom(seed, n.clock)
	n.lend()
	return n
}

// lend gives everything that waits the loom of the agent that there is.
func (n *node) lend() {
	n.kernel.Patience, n.droplets.Patience, n.store.patience = n.loom, n.loom, n.loom
}

// Now and AfterFunc make the node a kit.Clock: what it reads may be wrong, how
// long things take is not.
func (n *node) Now() time.Time { return n.clock.Now().Add(n.skew) }

// AfterFunc calls f in d.
func (n *node) AfterFunc(d time.Duration, f func()) func() bool { return n.clock.AfterFunc(d, f) }

// begin starts an agent on what its predecessor left.
func (n *node) begin() {
	n.lives++
	n.loom = newLoom(n.seed*1_000_003+uint64(n.lives), n.clock)
	n.lend()
	n.tree = actors.New(actors.Options{
		Node:   messaging.Node{ID: "node-1", Address: netip.MustParseAddr("192.0.2.1"), Version: "0.0.1"},
		Stacks: []string{"host"}, Settings: n.settings, BootID: n.bootID(),
		Capacity: actors.Capacity{
			MemoryMiB: memoryMiB, DiskMiB: diskMiB, PortFirst: portFirst, PortLast: portLast,
			Plan: slot.Plan{Tag: "model", Pool: netip.MustParsePrefix(pool), UIDBase: 1_000_000},
		},
		Kernel: n.kernel, Droplets: n.droplets, Planner: model.Planner{},
		Output: model.Output{Kernel: n.kernel, Patience: n.loom, Publish: n.publish},
		Store:  n.store, Sink: n.sink, Recovered: n.held(), Hook: n.turn, Seed: n.seed + uint64(n.lives), Log: n.log,
		Live: n.kernel, Transcripts: model.Transcripts{Kernel: n.kernel, Patience: n.loom}, Clients: n.clients,
		Designer: model.Designer{}, NewContainerID: func() string { return n.id("c") },
		NewInstanceID: func() string { return n.id("i") }, Clock: n, Dispatcher: n.loom,
	})
	n.tree.Start()
}

func (n *node) bootID() string { return fmt.Sprint("boot-", n.boots) }

// restart takes what is the kernel's away.
func (n *node) restart() {
	n.boots++
	n.kernel.Reboot()
}

// startOver is what every agent does before it begins: where the machine was
// restarted what ran has to be on disk as what is to be started.
func (n *node) startOver(report bool) ([]actors.Record, error) {
	changed := actors.Boot{
		ID: n.bootID(), Report: report, At: n.Now(), NewContainerID: func() string { return n.id("c") },
	}.StartOver(n.store)
	if len(changed) == 0 {
		return nil, nil
	}
	return changed, n.store.write(len(n.store.changes))
}

func (n *node) turn(t kit.Turn) {
	n.turns++
	if n.hook != nil {
		n.hook(t)
	}
}

// held are the containers that the machine has anything of.
func (n *node) held() []isolation.Spec { return n.kernel.Residents() }

func (n *node) id(prefix string) string {
	n.ids++
	return fmt.Sprintf("%s%d", prefix, n.ids)
}

// die ends what an agent has under way where it stands. Of what its store had not
// written, kept changes got to the disk.
func (n *node) die(kept int) {
	n.loom.kill()
	n.store.leaving = false
	n.kernel.Orphan()
	n.store.succeed(kept)
}

// detach ends the agent as its signal does: work is told to end and does, and
// everything is written.
func (n *node) detach() {
	n.end()
	for n.loom.wake(); n.loom.step(); {
	}
	n.die(len(n.store.changes))
}

func (n *node) end() {
	if n.over != nil {
		n.over()
		n.over = nil
	}
	n.tree.Detach()
	n.tree = nil
}

// evacuated says that nothing is left to be started elsewhere, once.
func (n *node) evacuated() bool {
	select {
	case <-n.tree.Evacuated():
		return n.over == nil
	default:
		return false
	}
}

// failed says that the agent gave up.
func (n *node) failed() bool {
	select {
	case <-n.tree.Failed():
		return true
	default:
		return false
	}
}

// deliver hands a command to the agent, if there is one.
func (n *node) deliver(c messaging.Command) bool {
	if n.tree == nil {
		return false
	}
	n.tree.Deliver(c)
	return true
}

// leave has the agent shut down; done may be called more than once.
func (n *node) leave(done func()) {
	if n.over == nil {
		n.over = n.tree.Leave(done)
	}
}
