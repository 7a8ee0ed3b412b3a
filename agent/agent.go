package agent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/agent/chaos"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/box"
	"github.com/deacon-agent/deacon/isolation/slot"
	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/bus"
	"github.com/deacon-agent/deacon/messaging/directory"
	"github.com/deacon-agent/deacon/messaging/socket"
	"github.com/deacon-agent/deacon/staging"
)

// Version is what the node calls itself on the wire.
const Version = "0.1.0"

// Limits of waiting on the way in and out. A container that doesn't answer in
// readyMax is still taken care of, only the node doesn't wait for it.
const (
	readyMax = 10 * time.Second
	closeMax = 5 * time.Second
)

// Options are what a run of the agent is given besides its configuration.
type Options struct {
	Log     hclog.Logger
	Signals <-chan os.Signal // TERM, INT and QUIT end the agent; nil: only ctx does
	Ready   func(Ready)      // called once, when the node takes commands
	Hook    func(kit.Turn)   // for tests: called before an actor handles a message
	Budget  kit.Budget       // of every actor's restarts; zero: the default
}

// Ready says who is ready.
type Ready struct {
	NodeID string
	State  string // the state folder
}

// Run is the agent's life: recover, serve, and leave as the signal says. It
// returns when the agent has ended; applications may run on.
func Run(ctx context.Context, config Config, o Options) (err error) {
	hclog.SetDefault(o.Log) // what libraries say, in our words
	a := &agent{config: config, log: o.Log, options: o}
	defer func() { err = errors.Join(err, a.close()) }()
	if err := a.open(ctx); err != nil {
		return err
	}
	if err := a.begin(ctx); err != nil {
		a.failed = true
		return err
	}
	return a.serve(ctx)
}

// agent is the composition root's own: every part, and the order in which they
// are let go.
type agent struct {
	config  Config
	log     hclog.Logger
	options Options

	state     *state
	node      messaging.Node
	store     *store
	box       *box.Box
	outputs   *outputs
	bus       *bus.Bus
	tree      *actors.Tree
	chaos     *chaos.Node                 // nil: not allowed
	watch     *watch                      // nil: nobody watches
	door      atomic.Pointer[socket.Door] // nil: closed
	directory *directory.Door             // nil: files are served to nobody
	closers   []closer                    // newest last
	failed    bool                        // the agent never came as far as to serve
	empty     bool                        // nothing runs any more: the kernel gets everything back
}

type closer struct {
	name  string
	close func() error
}

func (a *agent) defers(name string, close func() error) {
	a.closers = append(a.closers, closer{name, close})
}

// close lets everything go, newest first.
func (a *agent) close() error {
	var failed error
	for i := len(a.closers) - 1; i >= 0; i-- {
		if err := a.closers[i].close(); err != nil {
			failed = errors.Join(failed, fmt.Errorf("agent: close %s: %w", a.closers[i].name, err))
		}
	}
	return failed
}

// open prepares the parts that the tree stands on.
func (a *agent) open(ctx context.Context) (err error) {
	for _, warning := range a.config.Warnings {
		a.log.Warn("configuration", "warning", warning)
	}
	if a.state, err = openState(a.config.Node.State, a.config.Node.ID); err != nil {
		return err
	}
	a.defers("the state folder", func() error { a.state.close(); return nil })
	a.note(a.state.notes)
	config, notes, err := a.config.Resolve()
	if err != nil {
		return err
	}
	a.config = config
	a.note(notes)
	if err := a.holdStacks(); err != nil {
		return err
	}
	if err := a.state.settle(config.Network.Pool, config.Node.UIDBase); err != nil {
		return err
	}
	a.node = messaging.Node{
		ID: a.state.node.ID, Address: config.Node.Address, Index: config.Node.Index, Version: Version,
	}
	if err := a.openWatch(); err != nil {
		return err
	}
	if a.store, err = openStore(a.state.path); err != nil {
		return err
	}
	a.defers("the store", a.store.close)
	a.note(a.store.notes)
	a.store.onTrouble(func(err error) { a.log.Error("what should run can't be kept on disk", "error", err) })
	if a.box, err = box.Open(a.boxConfig()); err != nil {
		return err
	}
	a.defers("the kernel's side", a.closeBox)
	if err := a.allowChaos(); err != nil {
		return err
	}
	if a.outputs, err = newOutputs(a.box.JobFolder, a.publishLines); err != nil {
		return fmt.Errorf("agent: follow output: %w", err)
	}
	a.outputs.rate, a.outputs.lineMax = a.config.Instance.LogRate, int(a.config.Instance.LogLineMaxBytes)
	a.defers("the output", a.outputs.close)
	return a.openBus(ctx)
}

func (a *agent) note(notes []string) {
	for _, note := range notes {
		a.log.Info(note)
	}
}

func (a *agent) boxConfig() box.Config {
	n := a.config.Network
	c := box.Config{
		State: a.state.path, Init: a.config.Node.Init, Plan: a.plan(),
		Network: networkConfig(n), Disk: diskConfig(a.config.Disk), OutputMax: a.config.Instance.OutputMaxBytes,
	}
	if a.watch != nil {
		c.Took = a.watch.metrics.Took
	}
	return c
}

func (a *agent) plan() slot.Plan {
	return slot.Plan{
		Tag: slot.TagOf(a.state.node.ID), Pool: a.config.Network.Pool, UIDBase: a.config.Node.UIDBase,
	}
}

// closeBox leaves every container running; where none is left, the kernel gets
// back the table and the groups too.
func (a *agent) closeBox() error {
	if a.failed {
		left, err := a.box.Containers(context.Background())
		a.empty = err == nil && len(left) == 0
	}
	err := a.box.Close()
	if a.empty {
		err = errors.Join(err, a.box.Remove())
	}
	return err
}

func (a *agent) openBus(ctx context.Context) error {
	config, err := BusConfig(a.config.NATS, a.node.ID, a.log.Named("bus"))
	if err != nil {
		return err
	}
	// There is nothing to hear of before the tree tells its first event.
	config.ExitTold = func(instance string) { a.tree.ExitTold(instance) }
	if a.chaos != nil {
		config.Dial = a.chaos.Line.Dial
	}
	if a.bus, err = bus.Open(ctx, config); err != nil {
		return err
	}
	a.defers("the bus", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), closeMax)
		defer cancel()
		err := a.bus.Close(ctx)
		if errors.Is(err, bus.ErrUnsent) { // a node of Warden's clients may never have had a server
			a.log.Warn("the agent leaves with something untold", "reason", err)
			return nil
		}
		return err
	})
	return nil
}

func (a *agent) publishLines(ctx context.Context, lines []messaging.LogLine) error {
	return a.bus.PublishLines(ctx, a.named(lines))
}

// named are lines with the ids that the wire knows their instances by. Output is
// kept by those that instances were born with.
func (a *agent) named(lines []messaging.LogLine) []messaging.LogLine {
	for i := range lines {
		if r, there := a.store.Get(lines[i].Instance); there {
			lines[i].Instance = r.Named()
		}
	}
	return lines
}

// begin recovers what a former agent left and brings the tree up on it.
func (a *agent) begin(ctx context.Context) error {
	bootID, err := readBootID()
	if err != nil {
		return err
	}
	if err := a.startOver(ctx, bootID); err != nil {
		return err
	}
	recovered, err := a.box.Recover(ctx)
	if err != nil {
		return err
	}
	a.note(a.box.Notes)
	options, err := a.treeOptions(bootID, recovered)
	if err != nil {
		return err
	}
	// The tree greets as soon as it starts, and who answers is to be heard.
	if err := a.bus.Subscribe(); err != nil {
		return err
	}
	a.tree = actors.New(options)
	a.tree.Start()
	a.defers("the tree", func() error { a.tree.Detach(); return nil })
	if a.watch != nil {
		a.watch.show(&watched{a.tree, a.box, a.store, a.bus})
		a.defers("what is watched", a.watch.hide)
	}
	select {
	case <-a.tree.Ready():
	case <-time.After(readyMax):
		a.log.Warn("not every container of the former agent has answered yet", "waited", readyMax)
	case err := <-a.tree.Failed():
		return fmt.Errorf("agent: the tree was given up: %w", err)
	}
	if err := a.openDoor(); err != nil {
		return err
	}
	a.serveFiles()
	if err := a.bus.Listen(a.deliver); err != nil {
		return err
	}
	if err := a.offerSessions(); err != nil {
		return err
	}
	return a.offerChaos()
}

func (a *agent) treeOptions(bootID string, recovered []isolation.Spec) (actors.Options, error) {
	cache, err := staging.Open(filepath.Join(a.state.path, "droplets"), staging.Options{AllowFiles: false})
	if err != nil {
		return actors.Options{}, err
	}
	stacks, err := prepareStacks(a.config, a.state.path)
	if err != nil {
		return actors.Options{}, err
	}
	c := a.config
	settings := actors.DefaultSettings()
	settings.Heartbeat, settings.Advertise = c.Intervals.Heartbeat, c.Intervals.Advertise
	settings.RouterRegister = c.Intervals.RouterRegister
	settings.HealthCheckTimeout, settings.StopGrace = c.Instance.HealthCheckTimeout, c.Instance.StopGrace
	settings.EvacuateWithin = c.Node.EvacuateWithin
	settings.ReleaseDelay = c.Network.ReleaseDelay
	settings.CrashLifetime = c.Instance.CrashLifetime
	settings.HookMax = c.Hooks.Timeout
	settings.Starts, settings.Spares = c.Instance.StartsMax, c.Instance.Spares
	options := actors.Options{
		Node: a.node, Zone: c.Node.Zone, Stacks: stackNames(c.Stacks), Runtimes: runtimeNames(c.Runtimes),
		BootID: bootID, Settings: settings,
		Capacity: actors.Capacity{
			MemoryMiB: overcommit(c.Resources.MemoryMiB, c.Resources.MemoryOvercommit),
			DiskMiB:   overcommit(c.Resources.DiskMiB, c.Resources.DiskOvercommit),
			Plan:      a.plan(), PortFirst: c.Network.PortFirst, PortLast: c.Network.PortLast,
		},
		Kernel: a.box, Droplets: droplets{cache}, Output: a.outputs, Store: a.store, Sink: a.tell,
		Planner: NewPlanner(PlannerConfig{
			Instance: c.Instance, Hooks: c.Hooks, Binds: c.Binds, Runtimes: c.Runtimes,
			Address: c.Node.Address, DNS: c.Network.DNS, Stacks: stacks,
		}),
		Recovered:      recovered,
		NewContainerID: newContainerID, NewInstanceID: newInstanceID,
		Log: a.log, Hook: a.options.Hook, Budget: a.options.Budget,
	}
	if a.watch != nil {
		options.Component = &a.watch.component
	}
	a.putChaosBetween(&options)
	err = errors.Join(a.openDirectory(&options), a.wardenOptions(&options, stacks))
	return options, err
}

func overcommit(mib int64, factor float64) int64 { return int64(float64(mib) * factor) }

func newContainerID() string { return slot.NewID(rand.Reader) }

// newInstanceID draws 32 hexadecimal digits, the form that instances have on
// the wire.
func newInstanceID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails on Linux
	return hex.EncodeToString(b[:])
}

// tell is the tree's sink. What deacon itself says of an application is kept
// with the application's own lines.
func (a *agent) tell(e messaging.Event) {
	switch e := e.(type) {
	case messaging.LogLine:
		a.outputs.keep(e)
		a.bus.Publish(a.named([]messaging.LogLine{e})[0])
		return
	case messaging.LogsTailed:
		a.bus.Publish(messaging.LogsTailed{ReplyTo: e.ReplyTo, Lines: a.named(e.Lines)})
		return
	case messaging.InstanceChanged:
		if a.watch != nil {
			a.watch.restarts.see(e)
		}
	case messaging.ActorGaveUp:
		a.log.Error("a part of the node was given up", "actor", e.Actor, "reason", e.Reason)
	case messaging.Answered:
		if door := a.door.Load(); door != nil {
			door.Answer(e)
		}
		return
	case messaging.AsksForgotten:
		if door := a.door.Load(); door != nil {
			door.Reset()
		}
		return
	default: // is for others to hear
	}
	a.bus.Publish(e)
}

// deliver answers what is asked of the agent itself; the rest is the tree's. Who asks
// for the actors passes no mailbox, so that one that is stuck can be seen.
func (a *agent) deliver(c messaging.Command) {
	asked, ok := c.(messaging.ListActors)
	if !ok {
		a.tree.Deliver(c)
		return
	}
	list := messaging.ActorsListed{ReplyTo: asked.ReplyTo, NodeID: a.node.ID}
	for _, s := range a.tree.Actors() {
		list.Actors = append(list.Actors, messaging.ActorRow(s))
	}
	a.bus.Publish(list)
}
