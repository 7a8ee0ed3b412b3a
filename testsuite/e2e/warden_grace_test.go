package e2e

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	wardenclient "github.com/deacon-agent/deacon/messaging/warden/client"
	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

// graced makes a container over a client of its own.
func (w *wardens) graced(c *wardenclient.Client, seconds *uint32) string {
	w.t.Helper()
	handle, err := c.Create(w.ctx(), &protocol.CreateRequest{GraceTime: seconds})
	if err != nil {
		w.t.Fatal(err)
	}
	return handle
}

func (w *wardens) listed(c *wardenclient.Client) []string {
	w.t.Helper()
	handles, err := c.List(w.ctx())
	if err != nil {
		w.t.Fatal(err)
	}
	return handles
}

// gone waits until a container is listed no more; how it is asked refers to
// nothing, since the client is older than the container.
func (w *wardens) gone(c *wardenclient.Client, handle string) time.Duration {
	w.t.Helper()
	begun := time.Now()
	w.until("the end of "+handle, func() bool { return !slices.Contains(w.listed(c), handle) })
	return time.Since(begun)
}

// A container lives as long as somebody refers to it, and its grace time more.
func TestAContainerOutlivesItsLastClientByItsGraceTime(t *testing.T) {
	w := newWardens(t, `grace_time = "1s"`)
	old := w.c // refers to nothing that is made later and that it doesn't name

	maker := w.dial()
	zero := w.graced(maker, proto.Uint32(0))
	maker.Close()
	w.gone(old, zero)

	maker = w.dial()
	byDefault, two := w.graced(maker, nil), w.graced(maker, proto.Uint32(2))
	maker.Close()
	first := w.gone(old, byDefault)
	second := first + w.gone(old, two)
	if first < 500*time.Millisecond || second < 1500*time.Millisecond {
		t.Errorf("1 s and 2 s ended after %s and %s", first, second)
	}

	maker = w.dial()
	there := w.graced(maker, proto.Uint32(0))
	witness := w.dial() // by being there
	if err := witness.Ping(w.ctx()); err != nil {
		t.Fatal(err)
	}
	maker.Close()
	time.Sleep(500 * time.Millisecond)
	if !slices.Contains(w.listed(old), there) {
		t.Error("a connection that was opened while the container was there didn't hold it")
	}
	// Naming it holds it, too, and a reference ends a grace time under way.
	named := w.dial()
	if _, err := named.Info(w.ctx(), there); err != nil {
		t.Fatal(err)
	}
	witness.Close()
	time.Sleep(300 * time.Millisecond)
	if !slices.Contains(w.listed(old), there) {
		t.Error("a connection that named the container didn't hold it")
	}
	named.Close()
	w.gone(old, there)

	maker = w.dial()
	rescued := w.graced(maker, proto.Uint32(2))
	maker.Close()
	time.Sleep(200 * time.Millisecond)
	rescuer := w.dial() // cancels it
	time.Sleep(2500 * time.Millisecond)
	if !slices.Contains(w.listed(old), rescued) {
		t.Error("a new connection didn't end the grace time")
	}
	rescuer.Close()
	if took := w.gone(old, rescued); took < 1500*time.Millisecond {
		t.Errorf("the grace time began anew and was over after %s", took)
	}
}

// Without a client in the world a container of "never" stays.
func TestAGraceTimeOfNeverEndsNothing(t *testing.T) {
	w := newWardens(t, `grace_time = "never"`)
	maker := w.dial()
	stays, goes := w.graced(maker, nil), w.graced(maker, proto.Uint32(0))
	maker.Close()
	w.gone(w.c, goes)
	if !slices.Equal(w.listed(w.c), []string{stays}) {
		t.Errorf("listed %q", w.listed(w.c))
	}
	w.destroy(stays)
}

// A successor arms the grace time of all that nobody refers to.
func TestAfterARestartTheGraceTimeRuns(t *testing.T) {
	w := newWardens(t, "")
	handle, other := w.graced(w.c, proto.Uint32(1)), w.create()
	w.node.Kill()
	w.node.Start()
	time.Sleep(1500 * time.Millisecond)
	w.c = w.dial()
	w.until("the end of the first", func() bool { return slices.Equal(w.listed(w.c), []string{other}) })
	_, err := w.c.Info(w.ctx(), handle)
	expectSaid(t, "info", err, "unknown handle")
	w.destroy(other)
}
