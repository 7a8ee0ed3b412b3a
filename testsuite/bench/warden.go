package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/deacon-agent/deacon/messaging/warden/client"
	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

// The limits of Warden's door.
const (
	overBoxMax      = 1.2    // create, p50, in creates of the box itself
	runMax          = 4.0    // ms, p50: /bin/true in a running container
	pingsMin        = 20_000 // a second, on one connection
	streamMin       = 300    // MB a second
	streamBytes     = 64 << 20
	wardenPings     = 20_000
	pingsInFlight   = 64
	wardenMany      = 100
	wardenClients   = 10
	wardenOutputMax = "96MiB"
)

// forked is how many processes the original needed for the same (wire/warden.md k).
var forked = map[string]int{"create": 234, "run true": 38, "ping": 0, "stream": 17, "destroy": 69}

// door is what was measured at Warden's socket of the node.
type door struct {
	BoxCreate  sample
	Create     sample
	FirstRun   sample // in a new container
	Run        sample // in one that has run something
	Destroy    sample
	PingsAlone float64 // a second, one after the other
	Pings      float64 // a second, pipelined
	StreamMBps float64
	CreateMany time.Duration // of wardenMany over wardenClients connections
	EndMany    time.Duration // of as many, each over one of its own
}

// measureDoor takes turns with the box alone where the two are compared.
func measureDoor(s *stand, n *node, b *box, rounds int) *door {
	fmt.Fprintln(os.Stderr, "bench: Warden's door")
	d := &door{}
	c, err := client.Dial(s.ctx, n.socket)
	s.must(err)
	defer c.Close()
	for range rounds {
		time.Sleep(idle)
		s.must(d.boxTurn(s, b))
		time.Sleep(idle)
		s.must(d.turn(s.ctx, c))
	}
	s.must(d.pings(s.ctx, c))
	s.must(d.stream(s.ctx, c))
	s.must(d.many(s.ctx, n.socket))
	s.must(n.rest())
	return d
}

// boxTurn makes a container without a job, as a client's create does.
func (d *door) boxTurn(s *stand, b *box) error {
	spec, _ := b.next()
	begun := now()
	if _, err := b.box.Create(s.ctx, spec, nil); err != nil {
		return err
	}
	d.BoxCreate = append(d.BoxCreate, now().since(begun))
	return b.away(spec.ID)
}

func (d *door) turn(ctx context.Context, c *client.Client) error {
	begun := now()
	handle, err := c.Create(ctx, &protocol.CreateRequest{})
	if err != nil {
		return err
	}
	d.Create = append(d.Create, now().since(begun))
	for _, into := range []*sample{&d.FirstRun, &d.Run, &d.Run, &d.Run} {
		time.Sleep(idle / 3)
		begun = now()
		r, err := c.Run(ctx, &protocol.RunRequest{Handle: &handle, Script: proto.String("exec /bin/true")})
		if err != nil || r.GetExitStatus() != 0 {
			return fmt.Errorf("run: %v, %w", r, err)
		}
		*into = append(*into, now().since(begun))
	}
	begun = now()
	if err := c.Destroy(ctx, handle); err != nil {
		return err
	}
	d.Destroy = append(d.Destroy, now().since(begun))
	return nil
}

func (d *door) pings(ctx context.Context, c *client.Client) error {
	begun := now()
	for range wardenPings {
		if err := c.Ping(ctx); err != nil {
			return err
		}
	}
	d.PingsAlone = wardenPings / now().since(begun).Seconds()
	begun = now()
	waiting := make(chan *client.Pending, pingsInFlight)
	var group errgroup.Group
	group.Go(func() error {
		defer close(waiting)
		for range wardenPings {
			pending, err := c.Start(ctx, &protocol.PingRequest{})
			if err != nil {
				return err
			}
			waiting <- pending
		}
		return nil
	})
	group.Go(func() error {
		for pending := range waiting {
			if _, err := pending.Wait(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	err := group.Wait()
	d.Pings = wardenPings / now().since(begun).Seconds()
	return err
}

// stream reads what a job has written already: what is measured is the way from
// its file to the client.
func (d *door) stream(ctx context.Context, c *client.Client) error {
	handle, err := c.Create(ctx, &protocol.CreateRequest{})
	if err != nil {
		return err
	}
	script := fmt.Sprintf("head -c %d /dev/zero", streamBytes)
	job, err := c.Spawn(ctx, &protocol.SpawnRequest{Handle: &handle, Script: &script})
	if err != nil {
		return err
	}
	for done := false; !done; time.Sleep(10 * time.Millisecond) {
		info, err := c.Info(ctx, handle)
		if err != nil {
			return err
		}
		done = len(info.GetJobIds()) == 0
	}
	read, begun := 0, now()
	_, _, err = c.Stream(ctx, handle, job, func(_ string, data []byte) error {
		n, err := io.Discard.Write(data)
		read += n
		return err
	})
	if err == nil && read != streamBytes {
		err = fmt.Errorf("%d of %d bytes came", read, streamBytes)
	}
	d.StreamMBps = float64(read) / 1e6 / now().since(begun).Seconds()
	if err != nil {
		return err
	}
	return c.Destroy(ctx, handle)
}

func (d *door) many(ctx context.Context, socket string) error {
	handles := make(chan string, wardenMany)
	clients := make([]*client.Client, wardenMany)
	for i := range clients {
		c, err := client.Dial(ctx, socket)
		if err != nil {
			return err
		}
		defer c.Close()
		clients[i] = c
	}
	var group errgroup.Group
	begun := now()
	for _, c := range clients[:wardenClients] {
		group.Go(func() error {
			for range wardenMany / wardenClients {
				handle, err := c.Create(ctx, &protocol.CreateRequest{})
				if err != nil {
					return err
				}
				handles <- handle
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	d.CreateMany = now().since(begun)
	begun = now()
	for _, c := range clients {
		group.Go(func() error { return c.Destroy(ctx, <-handles) })
	}
	err := group.Wait()
	d.EndMany = now().since(begun)
	return err
}

func (r *report) printDoor(w io.Writer) {
	d := r.Door
	processes := func(what string) string { return fmt.Sprint(forked[what]) }
	columns(w, [][]string{
		{"Warden's door", "p50 ms", "p99 ms", "processes the original forked"},
		{"create", decimal(millis(d.Create.p50())), decimal(millis(d.Create.p99())), processes("create")},
		{"create, the box alone", decimal(millis(d.BoxCreate.p50())), decimal(millis(d.BoxCreate.p99())), ""},
		{"run /bin/true, the first in a new container",
			decimal(millis(d.FirstRun.p50())), decimal(millis(d.FirstRun.p99())), processes("run true")},
		{"run /bin/true in a running container",
			decimal(millis(d.Run.p50())), decimal(millis(d.Run.p99())), processes("run true")},
		{"destroy", decimal(millis(d.Destroy.p50())), decimal(millis(d.Destroy.p99())), processes("destroy")},
	})
	fmt.Fprintf(w, "ping: %.0f a second one after the other, %.0f pipelined (processes: %d)\n",
		d.PingsAlone, d.Pings, forked["ping"])
	fmt.Fprintf(w, "stream of %d MiB: %.0f MB/s (processes: %d)\n", streamBytes>>20, d.StreamMBps, forked["stream"])
	fmt.Fprintf(w, "%d created over %d connections: %s ms (processes: %d); "+
		"%d destroyed at once: %s ms (processes: %d)\n\n", wardenMany, wardenClients,
		decimal(millis(d.CreateMany)), wardenMany*forked["create"],
		wardenMany, decimal(millis(d.EndMany)), wardenMany*forked["destroy"])
}

func (r *report) checkDoor() {
	d := r.Door
	r.atMost("Warden's create, p50", float64(d.Create.p50())/float64(d.BoxCreate.p50()), overBoxMax, "x box")
	r.atMost("Warden's run of /bin/true, p50", millis(d.Run.p50()), runMax, "ms")
	r.atLeast("Warden's pings on one connection", d.Pings, pingsMin, "a second")
	r.atLeast("Warden's stream", d.StreamMBps, streamMin, "MB/s")
}

// json is the figures for programs.
func (d *door) json() map[string]any {
	return map[string]any{
		"create_p50_ms": millis(d.Create.p50()), "create_p99_ms": millis(d.Create.p99()),
		"box_create_p50_ms": millis(d.BoxCreate.p50()), "run_true_p50_ms": millis(d.Run.p50()),
		"first_run_p50_ms": millis(d.FirstRun.p50()), "first_run_p99_ms": millis(d.FirstRun.p99()),
		"run_true_p99_ms": millis(d.Run.p99()), "destroy_p50_ms": millis(d.Destroy.p50()),
		"pings_per_second": d.Pings, "pings_one_by_one_per_second": d.PingsAlone, "stream_mb_per_second": d.StreamMBps,
		"create_many_ms": millis(d.CreateMany), "destroy_many_ms": millis(d.EndMany), "original_processes": forked,
	}
}
