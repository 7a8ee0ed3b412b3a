package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/agent/metrics"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/bus"
	"github.com/deacon-agent/deacon/messaging/status"
)

// Why a node takes no commands.
var (
	errBeginning = errors.New("the node is recovering what a former agent left")
	errLeaving   = errors.New("the node is leaving")
)

// watched are the parts that there is something to see of.
type watched struct {
	tree  *actors.Tree
	box   watchedBox
	store actors.Store
	bus   *bus.Bus
}

// watchedBox is what is read of the kernel, which changes nothing there.
type watchedBox interface {
	Usage(ctx context.Context, id string) (isolation.Usage, error)
	Traffic() (map[string]isolation.Traffic, error)
	Pressure() ([]isolation.Stall, error)
	Held() []string
}

// watch is what is shown to those who watch the node by HTTP. It is there before
// the parts are, so that a node that takes long to recover says so.
type watch struct {
	config    Config
	node      messaging.Node
	component messaging.Component
	began     time.Time
	linkOf    func(actors.Placement) string
	metrics   *metrics.Metrics
	logged    *logCounter
	log       hclog.Logger
	unready   atomic.Pointer[error]
	restarts  restarts

	mu      sync.Mutex
	parts   *watched // nil: not yet, or not any more
	last    messaging.Report
	samples map[string]cpuSample // of the last report, by instance
}

// openWatch lets those in who watch the node, where the configuration says so.
func (a *agent) openWatch() error {
	s := a.config.Status
	if !s.Listen.IsValid() {
		return nil
	}
	user, password, drawn, err := s.Login()
	if err != nil {
		return fmt.Errorf("agent: status.password_file: %w", err)
	}
	secure, err := s.TLS.serverTLS()
	if err != nil {
		return fmt.Errorf("agent: status.tls: %w", err)
	}
	log := a.log.Named("status")
	w := &watch{
		config: a.config, node: a.node, began: time.Now(), logged: countLog(a.log), log: log,
		linkOf: func(p actors.Placement) string { return a.plan().Link(slotOf(p)) },
	}
	w.notReady(errBeginning)
	w.metrics = metrics.New(metrics.Sources{
		Ready: w.ready, Report: w.report, Actors: w.actors, Failures: w.failures, Bus: w.busStats, Pressure: w.pressure,
	}, log)
	a.defers("the count of the log", w.logged.close)
	door, err := status.Open(status.Config{
		Listen: s.Listen, User: user, Password: password, GuardMetrics: !drawn, TLS: secure, Log: log,
	}, status.Sources{Ready: w.ready, Report: w.report, Metrics: w.metrics.Handler()})
	if err != nil {
		return fmt.Errorf("agent: let the node be watched: %w", err)
	}
	a.defers("the door to watch by", door.Close)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.component = messaging.Component{
		Type: "DEA", Index: a.node.Index, UUID: a.node.ID, Address: reachable(door.Address(), a.node.Address),
		User: user, Password: password, Started: w.began,
	}
	a.watch = w
	a.log.Info("the node can be watched", "address", door.Address(), "tls", secure != nil)
	return nil
}

// reachable is where somebody else finds what listens here.
func reachable(listens netip.AddrPort, node netip.Addr) netip.AddrPort {
	if listens.Addr().IsUnspecified() {
		return netip.AddrPortFrom(node, listens.Port())
	}
	return listens
}

// show begins to show the parts; hide ends that, and waits for who is looking.
func (w *watch) show(parts *watched) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.parts = parts
}

func (w *watch) hide() error {
	w.show(nil)
	return nil
}

func (w *watch) notReady(why error) { w.unready.Store(&why) }

func (w *watch) isReady() { w.unready.Store(nil) }

func (w *watch) ready() error {
	if why := w.unready.Load(); why != nil {
		return *why
	}
	return nil
}

func (w *watch) shown() *watched {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.parts
}

func (w *watch) actors() []kit.Standing {
	if parts := w.shown(); parts != nil {
		return parts.tree.Actors()
	}
	return nil
}

func (w *watch) failures() map[string]kit.Tally {
	if parts := w.shown(); parts != nil {
		return parts.tree.Failures()
	}
	return map[string]kit.Tally{}
}

func (w *watch) busStats() (bus.Stats, bool) {
	if parts := w.shown(); parts != nil {
		return parts.bus.Stats(), true
	}
	return bus.Stats{}, false
}

func (w *watch) pressure() ([]isolation.Stall, error) {
	if parts := w.shown(); parts != nil {
		return parts.box.Pressure()
	}
	return nil, nil
}
