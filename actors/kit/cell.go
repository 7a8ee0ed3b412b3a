package kit

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/hashicorp/go-hclog"
)

// cell is one actor through all its incarnations: the only thing that the
// library ever sees as an actor of ours.
type cell struct {
	mailbox mailbox
	sys     *System
	parent  *incarnation // that spawned it; nil: a root
	kind    string
	name    string
	path    string
	serial  uint64 // counts the system's actors
	id      string // the library's name for it, never used twice in the process
	produce func(*incarnation) behaviour
	gaveUp  func(reason error) // nil: nobody wants to know

	current   atomic.Pointer[incarnation] // set on the mailbox
	dismissed atomic.Bool                 // its parent, or the system, told it to stop

	// Decided by the supervisor, one failure at a time.
	restarts restarts
	verdict  error // why it was given up; set before the Stop that ends it

	library actor.Context // the actor's own, to spawn with; on the mailbox only

	mu       sync.Mutex
	log      hclog.Logger
	watchers []watcher
	gone     bool
	done     chan struct{} // closed when gone; nil until somebody asks
}

func newCell[M any](sys *System, parent *incarnation, name string, k Kind[M]) *cell {
	path := name
	if parent != nil {
		path = parent.cell.path + "/" + name
	}
	if name == "" || strings.ContainsAny(name, "/#") {
		panic(fmt.Sprintf("kit: spawn %q: a name must not be empty nor hold / or #", path))
	}
	if k.New == nil || k.Name == "" {
		panic(fmt.Sprintf("kit: spawn %s: kind %q needs a name and New", path, k.Name))
	}
	c := &cell{
		sys: sys, parent: parent, kind: k.Name, name: name, path: path, serial: sys.serial.Add(1),
		restarts: newRestarts(k.Budget),
		produce: func(in *incarnation) behaviour {
			return &typed[M]{actor: k.New(), context: Context[M]{in}}
		},
	}
	c.mailbox.owner = c
	return c
}

// props is the only maker of Props.
func (c *cell) props(more ...actor.PropsOption) *actor.Props {
	return actor.PropsFromProducer(func() actor.Actor { return c }, append(more,
		actor.WithMailbox(func() actor.Mailbox { return &c.mailbox }),
		actor.WithDispatcher(c.sys.dispatcher),
		actor.WithSupervisor(supervisor{}),
	)...)
}

// Receive is the library's side of the actor.
func (c *cell) Receive(library actor.Context) {
	switch m := library.Message().(type) {
	case delivery:
		c.deliver(m)
	case *actor.Started:
		c.library = library
		c.start()
	case *actor.Restarting:
		c.current.Load().end()
	case *actor.Stopping:
		c.mailbox.beginStop()
		c.current.Load().end()
	case *actor.Stopped:
		c.bury()
	case *actor.Terminated: // a child's; whoever cares was told by the child itself
	default:
		c.logger().Error("message of no known kind dropped", "message", messageName(m))
	}
}

// start begins an incarnation. Those below the last one have stopped by now.
func (c *cell) start() {
	last := c.current.Load()
	if c.sys.closed.Load() {
		return
	}
	in := &incarnation{cell: c, number: 1}
	if last != nil {
		c.takeDown(last)
		in.number = last.number + 1
	}
	c.current.Store(in)
	c.guard(in, func() error {
		in.behaviour = c.produce(in)
		in.see(lifecycle("Up"))
		return in.behaviour.up()
	})
}

func (c *cell) deliver(d delivery) {
	in := c.current.Load()
	if in == nil || in.over() || c.sys.closed.Load() {
		c.drop(d)
		return
	}
	if to := d.incarnation(); to != 0 && to != in.number {
		return // a former incarnation's own business
	}
	c.guard(in, func() error { return in.behaviour.receive(d) })
}

// guard makes every way out of f but a nil error the incarnation's failure,
// and hands that to the library in the one way that reaches a supervisor.
func (c *cell) guard(in *incarnation, f func() error) {
	var err error
	returned := false
	defer func() {
		message := in.message
		in.message = nil
		if returned && err == nil {
			return
		}
		failure := &Failure{
			Kind: c.kind, Path: c.path, Message: messageName(message), Incarnation: int(in.number), Err: err, cell: c,
		}
		if !returned {
			p := c.panicked(failure.Message, recover())
			failure.Err, failure.Stack = p, p.Stack
		}
		in.end()
		panic(failure)
	}()
	err = f()
	returned = true
}

// takeDown calls an incarnation's Down on a goroutine of its own, so that
// neither a panic nor a Goexit can get between an actor and its stop.
func (c *cell) takeDown(in *incarnation) {
	if in.behaviour == nil || c.sys.closed.Load() {
		return
	}
	c.quietly("Down hook", func() { in.see(lifecycle("Down")) })
	c.quietly("Down", in.behaviour.down)
	in.message, in.behaviour = nil, nil
}

// quietly calls f, logs what it panics with and waits for it.
func (c *cell) quietly(what string, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		returned := false
		defer func() {
			if !returned {
				p := c.panicked(what, recover())
				c.logger().Error("panic ignored", "in", what, "panic", p.Value, "stack", string(p.Stack))
			}
		}()
		f()
		returned = true
	}()
	<-done
}

// bury is an actor's last act.
func (c *cell) bury() {
	if in := c.current.Load(); in != nil {
		c.takeDown(in)
	}
	if dropped := c.mailbox.close(); dropped > 0 {
		c.logger().Debug("messages dropped: the actor has stopped", "messages", dropped)
	}
	c.sys.remove(c)
	c.mu.Lock()
	c.gone = true
	watchers := c.watchers
	c.watchers = nil
	if c.done != nil {
		close(c.done)
	}
	c.mu.Unlock()
	if c.verdict != nil && c.gaveUp != nil && !c.dismissed.Load() {
		c.quietly("gaveUp", func() { c.gaveUp(c.verdict) })
	}
	for _, w := range watchers {
		w.tell(c)
	}
}

// post puts a letter into the mailbox.
func (c *cell) post(d delivery) {
	if !c.mailbox.push(&c.mailbox.user, d) {
		c.drop(d)
	}
}

func (c *cell) drop(d delivery) {
	if log := c.logger(); log.IsDebug() {
		log.Debug("message dropped: the actor is gone", "message", d.name())
	}
}

// stop may be called by anyone, and again.
func (c *cell) stop() { c.mailbox.PostSystemMessage(&actor.Stop{}) }

func (c *cell) logger() hclog.Logger {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.log == nil {
		c.log = c.sys.log.Named(c.path)
	}
	return c.log
}

// whenGone is closed when the actor has stopped for good.
func (c *cell) whenGone() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.gone {
			close(c.done)
		}
	}
	return c.done
}

// launch makes the library start the actor.
func (c *cell) launch(spawn func(*actor.Props, string) (*actor.PID, error), more ...actor.PropsOption) {
	c.sys.add(c)
	last := c.id[strings.LastIndexByte(c.id, '/')+1:]
	if _, err := spawn(c.props(more...), last); err != nil {
		// The identifier was never used before.
		panic(errors.Join(fmt.Errorf("kit: spawn %s", c.path), err))
	}
}
