package actors

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/messaging"
)

// keepMax is how long a container may stay that its logs are copied from: so long
// its memory is nobody else's.
const keepMax = 10 * time.Second

// crashesSwept says whose logs went because the disk is too full.
type crashesSwept struct {
	gone []string
	err  error
}

func (crashesSwept) instances() {}

// keeps is the instance whose logs are kept when its container goes; empty: none.
// One that was stopped, or never ran, has nothing to be looked into.
func (r Record) keeps() string {
	switch r.State {
	case messaging.Starting, messaging.Running, messaging.Crashed:
		return r.Instance
	}
	return ""
}

// destroy ends the container. The logs of what crashed in it are kept before:
// everybody has been told of the crash by then, and nobody waits for this.
func (k *container) destroy(c *kit.Context[containerMessage]) {
	keep := k.order.keep
	if k.hurry || k.w.Crashes == nil { // the node leaves: nobody will ask for them
		keep = ""
	}
	k.step(c, "destroy", func(ctx context.Context) error {
		if keep != "" {
			k.w.keepLogs(ctx, keep, k.order.id)
		}
		return k.w.Kernel.Destroy(ctx, k.order.id)
	}, func(err error) containerMessage { return destroyEnded{err} })
}

// keepLogs has a crashed instance's logs copied. What can't be is said, and holds
// up nothing.
func (w *world) keepLogs(ctx context.Context, instance, container string) {
	ctx, over := w.within(ctx, keepMax)
	defer over()
	if err := w.Crashes.Keep(ctx, instance, container); err != nil {
		w.Log.Warn("not all logs of a crashed instance are kept", "instance", instance, "reason", err)
	}
}

// sweepCrashes has the logs removed of what is forgotten.
func (s *instances) sweepCrashes(c *kit.Context[instancesMessage]) {
	if s.w.Crashes == nil {
		return
	}
	kit.Pipe(c, "sweep crashes", s.w.Crashes.Sweep,
		func(gone []string, err error) instancesMessage { return crashesSwept{gone, err} })
}

// crashesSwept forgets those that are of no use without their logs; what a crash
// still has to be told of stays.
func (s *instances) crashesSwept(c *kit.Context[instancesMessage], m crashesSwept) {
	if m.err != nil {
		c.Log().Warn("logs of crashed instances can't be removed; the next sweep tries again", "error", m.err)
	}
	for _, r := range s.w.Store.All() {
		if slices.Contains(m.gone, r.Instance) && r.State == messaging.Crashed && !r.Untold {
			s.forget(c, r.Instance)
		}
	}
}

// found answers dea.find.droplet, without stats.
func (w *world) found(r Record, find messaging.FindInstances) messaging.InstanceFound {
	found := r.found(w.Node, find.ReplyTo)
	if find.IncludePath && w.Directory != nil {
		found.FileURI = w.Directory.Link(r.Named(), find.Path)
	}
	return found
}

// filesAt is where the node serves files; invalid: nowhere.
func (w *world) filesAt() netip.AddrPort {
	if w.Directory == nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(w.Directory.Route.Host, w.Directory.Route.Port)
}

// announceAll registers every route, the directory server's too.
func (s *instances) announceAll() {
	if s.w.Directory != nil && s.none == nil {
		s.w.tell(messaging.RouteRegistered{Route: s.w.Directory.Route})
	}
	s.tellAll(announce{})
}
