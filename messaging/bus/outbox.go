package bus

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/deacon-agent/deacon/messaging"
)

const (
	// outboxMax is how many messages may wait. A node with 1000 instances that
	// all crash at once has some 5000 to tell.
	outboxMax = 16384

	// What is kept of one instance or actor while there is no connection.
	exitsKept, changesKept, linesKept, failuresKept, askedKept = 8, 32, 64, 8, 256
)

// parcel is one message that waits to be sent.
type parcel struct {
	rule
	subject string
	reply   string // where it is answered; empty: nobody is asked
	body    []byte
	exited  string // the instance whose droplet.exited it is; empty: another message
	void    bool   // replaced or thrown out; the queue skips it
}

// rule says what becomes of a message that can't be sent at once.
type rule struct {
	key  string // what it is the news of
	keep int    // how many of one key are kept, the newest; 1: a newer one replaces it at any time
	last bool   // outlasts the connection
}

// ruleFor is the table of doc.go.
func ruleFor(event messaging.Event) rule {
	switch e := event.(type) {
	case messaging.Beat:
		return rule{key: "beat", keep: 1}
	case messaging.Advertised:
		return rule{key: "advertise", keep: 1}
	case messaging.RoutersGreeted:
		return rule{key: "greet", keep: 1, last: true}
	case messaging.ComponentAnnounced:
		return rule{key: "announce", keep: 1, last: true}
	case messaging.NodeStarted, messaging.NodeStopped:
		return rule{key: "greeting", keep: 1, last: true}
	case messaging.InstanceExited:
		return rule{key: "exit " + e.Instance, keep: exitsKept, last: true}
	case messaging.RouteRegistered:
		return rule{key: routeKey(e.Route), keep: 1, last: true}
	case messaging.RouteUnregistered:
		return rule{key: routeKey(e.Route), keep: 1, last: true}
	case messaging.InstanceChanged:
		return rule{key: "change " + e.Instance, keep: changesKept, last: true}
	case messaging.InstanceUpdated:
		return rule{key: "change " + e.Was, keep: changesKept, last: true}
	case messaging.LogLine:
		return rule{key: "line " + e.Instance, keep: linesKept, last: true}
	case messaging.Asked:
		return rule{key: "asked", keep: askedKept, last: true}
	case messaging.ActorGaveUp:
		return rule{key: "actor " + e.Actor, keep: failuresKept, last: true}
	default: // answers: whoever asked has gone when the connection is back
		return rule{key: "answer", keep: outboxMax}
	}
}

// routeKey tells routes apart. The uris are part of it: an update registers
// some and unregisters others of the same instance.
func routeKey(r messaging.Route) string {
	return "route " + netip.AddrPortFrom(r.Host, r.Port).String() + " " + r.PrivateInstance + " " +
		strconv.Quote(strings.Join(r.URIs, " "))
}

// outbox holds parcels in the order in which they were put. It knows no NATS.
type outbox struct {
	wake chan struct{} // there may be something to take

	mu     sync.Mutex
	up     bool
	closed bool
	queue  []*parcel
	byKey  map[string][]*parcel // of the queue, oldest first, no void ones
	count  int                  // of the queue, without void ones
	lost   int                  // thrown out although they should have lasted
}

func newOutbox() *outbox {
	return &outbox{wake: make(chan struct{}, 1), byKey: map[string][]*parcel{}}
}

// put takes a parcel; false: there was no room for one that should last.
func (o *outbox) put(p *parcel) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || !o.up && !p.last {
		return true
	}
	before := o.lost
	o.queue = append(o.queue, p)
	o.byKey[p.key] = append(o.byKey[p.key], p)
	o.count++
	o.bound(p.rule)
	o.ring()
	return o.lost == before
}

// bound throws out the oldest until what rule and outboxMax allow is left.
// While there is a connection the queue runs empty in no time, so that many
// of one key are no reason to lose any.
func (o *outbox) bound(r rule) {
	if r.keep == 1 || !o.up {
		for len(o.byKey[r.key]) > r.keep {
			if r.keep > 1 {
				o.lost++
			}
			o.throwOut(o.byKey[r.key][0])
		}
	}
	for o.count > outboxMax {
		i := slices.IndexFunc(o.queue, func(p *parcel) bool { return !p.void })
		if o.queue[i].last {
			o.lost++
		}
		o.throwOut(o.queue[i])
	}
	if len(o.queue) > 2*o.count+64 {
		o.queue = slices.DeleteFunc(o.queue, func(p *parcel) bool { return p.void })
	}
}

func (o *outbox) throwOut(p *parcel) {
	p.void = true
	o.forget(p)
}

// forget removes a parcel from the index. It is always the oldest of its key,
// for the queue is left from its front only.
func (o *outbox) forget(p *parcel) {
	o.count--
	if rest := o.byKey[p.key][1:]; len(rest) > 0 {
		o.byKey[p.key] = rest
	} else {
		delete(o.byKey, p.key)
	}
}

// take removes the oldest parcels, at most most; none while there is no connection.
func (o *outbox) take(most int) []*parcel {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.up {
		return nil
	}
	var batch []*parcel
	taken := 0
	for _, p := range o.queue {
		if len(batch) == most {
			break
		}
		taken++
		if !p.void {
			batch = append(batch, p)
			o.forget(p)
		}
	}
	o.queue = slices.Delete(o.queue, 0, taken)
	return batch
}

// giveBack returns what was taken and may not have been sent: it stands first
// again, unless it isn't to last or something newer has come.
func (o *outbox) giveBack(batch []*parcel) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range slices.Backward(batch) {
		if !p.last || p.keep == 1 && len(o.byKey[p.key]) > 0 {
			continue
		}
		o.queue = slices.Insert(o.queue, 0, p)
		o.byKey[p.key] = slices.Insert(o.byKey[p.key], 0, p)
		o.count++
		o.bound(p.rule)
	}
	o.ring()
}

// setUp tells whether there is a connection. Without one nothing stale is kept.
func (o *outbox) setUp(up bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.up = up
	if !up {
		for _, p := range o.queue {
			if !p.void && !p.last {
				o.throwOut(p)
			}
		}
	}
	o.ring()
}

// close takes nothing any more.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.ring()
}

// rest says how many wait, and whether more can come.
func (o *outbox) rest() (waiting int, closed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.count, o.closed
}

func (o *outbox) ring() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}
