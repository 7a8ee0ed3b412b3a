package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	wardenclient "github.com/deacon-agent/deacon/messaging/warden/client"
	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

var (
	wardenSeed = flag.Uint64("warden.seed", 0, "seed of the random Warden clients; 0: drawn")
	wardenOps  = flag.Int("warden.ops", 400, "how many operations they do")
)

// promise is what a client was told of a container.
type promise int

const (
	asked     promise = iota // to be made, and nobody answered
	made                     // it is there
	doomed                   // to be destroyed, and nobody answered
	destroyed                // it is not there
)

// promises are what all clients were told, by handle.
type promises struct {
	mu    sync.Mutex
	what  map[string]promise
	brief map[string]bool // grace time 0: gone with its last client
	count int
}

func (p *promises) set(handle string, to promise) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.what[handle] = to
}

// next is a handle that nobody had before.
func (p *promises) next(brief bool) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count++
	handle := fmt.Sprintf("random %d \x80", p.count)
	p.what[handle], p.brief[handle] = asked, brief
	return handle
}

// any is a handle that some client was promised.
func (p *promises) any(r *rand.Rand) (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var there []string
	for handle, what := range p.what {
		if what == made {
			there = append(there, handle)
		}
	}
	if len(there) == 0 {
		return "", false
	}
	return there[r.IntN(len(there))], true
}

// randomClient does what comes into its mind, and vanishes at any moment.
type randomClient struct {
	w        *wardens
	r        *rand.Rand
	promises *promises
	c        *wardenclient.Client
}

func (c *randomClient) live(ops int) {
	for range ops {
		if c.c == nil {
			c.c = c.w.dial()
		}
		ctx, vanish := context.WithTimeout(context.Background(), wardenMax)
		leaves := c.r.IntN(6) == 0
		if leaves { // in the middle of what it does, or just before the answer
			gone := c.c
			time.AfterFunc(time.Duration(c.r.IntN(8000))*time.Microsecond, func() { gone.Close() })
		}
		c.act(ctx)
		vanish()
		if leaves {
			c.c.Close()
			c.c = nil
		}
	}
	if c.c != nil {
		c.c.Close()
	}
}

func (c *randomClient) act(ctx context.Context) {
	handle, any := c.promises.any(c.r)
	switch n := c.r.IntN(10); {
	case n < 3 || !any:
		c.create(ctx)
	case n < 4:
		c.destroy(ctx, handle)
	case n < 5:
		c.check("stop", c.c.Stop(ctx, &protocol.StopRequest{Handle: &handle, Kill: proto.Bool(c.r.IntN(2) == 0)}))
	case n < 6:
		_, err := c.c.Info(ctx, handle)
		c.check("info", err)
	case n < 7:
		job, err := c.c.Spawn(ctx, &protocol.SpawnRequest{Handle: &handle, Script: proto.String("echo x; sleep 0.0$((RANDOM % 10))")})
		if c.check("spawn", err); err == nil {
			_, err = c.c.Link(ctx, handle, job)
			c.check("link", err)
		}
	case n < 8:
		_, err := c.c.NetIn(ctx, &protocol.NetInRequest{Handle: &handle})
		c.check("net_in", err)
	case n < 9:
		_, err := c.c.LimitMemory(ctx, &protocol.LimitMemoryRequest{Handle: &handle, LimitInBytes: proto.Uint64(64 << 20)})
		c.check("limit_memory", err)
	default:
		_, err := c.c.List(ctx)
		c.check("list", err)
	}
}

func (c *randomClient) create(ctx context.Context) {
	request := &protocol.CreateRequest{}
	brief := c.r.IntN(3) == 0
	if brief {
		request.GraceTime = proto.Uint32(0)
	}
	handle := c.promises.next(brief)
	request.Handle = &handle
	if _, err := c.c.Create(ctx, request); c.check("create", err) {
		c.promises.set(handle, made)
	}
}

func (c *randomClient) destroy(ctx context.Context, handle string) {
	c.promises.set(handle, doomed)
	if c.check("destroy", c.c.Destroy(ctx, handle)) {
		c.promises.set(handle, destroyed)
	}
}

// check takes a lost connection and the server's no for what they are.
func (c *randomClient) check(what string, err error) bool {
	if err == nil {
		return true
	}
	_, said := errors.AsType[*wardenclient.ServerError](err)
	_, lost := errors.AsType[*wardenclient.DisconnectedError](err)
	if !said && !lost {
		c.w.t.Errorf("%s: %v", what, err)
	}
	return false
}

// Whatever several clients do and wherever they vanish, what is left are the
// containers that the answers promised.
func TestRandomWardenClientsAreLeftWithWhatTheyWerePromised(t *testing.T) {
	seed := *wardenSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d; again: go test ./testsuite/e2e -run %s -warden.seed=%d -warden.ops=%d", seed, t.Name(), seed, *wardenOps)
	w := newWardens(t, "")
	w.c.Close() // it would refer to what comes
	p := &promises{what: map[string]promise{}, brief: map[string]bool{}}
	var group sync.WaitGroup
	const clients = 5
	for i := range clients {
		c := &randomClient{w: w, r: rand.New(rand.NewPCG(seed, uint64(i))), promises: p}
		group.Go(func() { c.live(*wardenOps / clients) })
	}
	group.Wait()
	w.c = w.dial()
	deadline := time.Now().Add(wardenMax)
	for {
		wrong := p.compare(w)
		if wrong == "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(wrong)
		}
		w.c.Close()
		time.Sleep(100 * time.Millisecond)
		w.c = w.dial()
	}
	listed, err := w.c.List(w.ctx())
	if err != nil {
		t.Fatal(err)
	}
	w.destroy(listed...)
}

// compare says what is there and was not promised, or the other way round.
func (p *promises) compare(w *wardens) string {
	listed, err := w.c.List(w.ctx())
	if err != nil {
		return err.Error()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	there := map[string]bool{}
	for _, handle := range listed {
		there[handle] = true
		if what, known := p.what[handle]; !known || what == destroyed || p.brief[handle] {
			return fmt.Sprintf("%q is there, and should not be", handle)
		}
	}
	for handle, what := range p.what {
		if what == made && !p.brief[handle] && !there[handle] {
			return fmt.Sprintf("%q is not there, and was promised", handle)
		}
	}
	return ""
}
