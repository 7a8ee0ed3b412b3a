package staging

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"
)

// gated serves its content once it is let.
type gated struct {
	*store
	entered chan struct{} // gets one for each request that came
	let     chan struct{}
}

func newGated(t *testing.T) gated {
	g := gated{store: newStore(t), entered: make(chan struct{}, 100), let: make(chan struct{})}
	inner := g.store
	g.store.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.entered <- struct{}{}
		select {
		case <-g.let:
		case <-r.Context().Done():
			return
		}
		inner.ServeHTTP(w, r)
	})
	return g
}

// waiters waits until n wait for the download of source.
func waiters(t *testing.T, c *Cache, source Source, n int) {
	t.Helper()
	want, err := source.wanted()
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		c.mu.Lock()
		f := c.flights[want]
		now := 0
		if f != nil {
			now = f.waiters
		}
		c.mu.Unlock()
		if now == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d wait, want %d", now, n)
		}
		runtime.Gosched()
	}
}

func TestWhoAsksAtTheSameTimeSharesOneDownload(t *testing.T) {
	c, g := openCache(t, Options{}), newGated(t)
	source := g.add(gzipped(t, droplet(t, "")))
	const n = 20
	var all sync.WaitGroup
	got := make([]Droplet, n)
	for i := range n {
		all.Go(func() {
			var err error
			if got[i], err = c.Fetch(t.Context(), source); err != nil {
				t.Error(err)
			}
		})
	}
	waiters(t, c, source, n)
	close(g.let)
	all.Wait()

	for _, d := range got {
		if d != got[0] || d.Layer == "" {
			t.Errorf("got %+v and %+v", d, got[0])
		}
	}
	if n := g.asked.Load(); n != 1 {
		t.Errorf("%d downloads", n)
	}
}

func TestOneWhoLeavesDoesNotEndItForTheOthers(t *testing.T) {
	c, g := openCache(t, Options{}), newGated(t)
	source := g.add(droplet(t, ""))
	impatient, leave := context.WithCancelCause(t.Context())
	left, stayed := make(chan error), make(chan error)
	go func() {
		_, err := c.Fetch(impatient, source)
		left <- err
	}()
	waiters(t, c, source, 1)
	go func() {
		_, err := c.Fetch(t.Context(), source)
		stayed <- err
	}()
	waiters(t, c, source, 2)

	stop := errors.New("the instance was stopped")
	leave(stop)
	if err := <-left; !errors.Is(err, stop) {
		t.Errorf("the one who left got %v", err)
	}
	close(g.let)
	if err := <-stayed; err != nil {
		t.Errorf("the one who stayed got %v", err)
	}
}

func TestTheLastOneWhoLeavesEndsTheDownload(t *testing.T) {
	c, g := openCache(t, Options{}), newGated(t)
	source := g.add(droplet(t, ""))
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error)
	for range 2 {
		go func() {
			_, err := c.Fetch(ctx, source)
			left <- err
		}()
	}
	waiters(t, c, source, 2)
	<-g.entered

	leave()

	for range 2 {
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v", err)
		}
	}
	expectNothing(t, c)
	// Who comes now begins anew.
	close(g.let)
	mustFetch(t, c, source)
}

func TestDifferentDropletsWaitForTheirTurn(t *testing.T) {
	c, g := openCache(t, Options{}), newGated(t)
	var all sync.WaitGroup
	for i := range fetchesMax + 3 {
		source := g.add(droplet(t, fmt.Sprintf("start_command: %q\n", fmt.Sprint(i))))
		all.Go(func() { mustFetchAnywhere(t, c, source) })
	}
	for range fetchesMax {
		<-g.entered
	}
	select {
	case <-g.entered:
		t.Errorf("more than %d are fetched at once", fetchesMax)
	default:
	}
	close(g.let)
	all.Wait()
}

// mustFetchAnywhere may be called from any goroutine.
func mustFetchAnywhere(t *testing.T, c *Cache, s Source) {
	if _, err := c.Fetch(t.Context(), s); err != nil {
		t.Error(err)
	}
}
