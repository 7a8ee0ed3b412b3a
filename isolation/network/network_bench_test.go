package network

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/slot"
)

// idle lies between two measured calls: back to back, some grace periods are
// over before anybody waits for them, which no real node enjoys.
const idle = 20 * time.Millisecond

func benchNetwork(b *testing.B) *Network {
	b.Helper()
	plan := testPlan("bench")
	plan.Pool = netip.MustParsePrefix("10.254.0.0/16")
	n, _, err := Open(Config{Plan: plan, Egress: Reject, Loopback: true})
	if err != nil {
		b.Skip("SKIPPED: needs root: ", err)
	}
	if err := n.Restore(nil); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { n.Remove(); n.Close() })
	return n
}

type tenancy struct {
	Attachment
	ns *namespace
}

func (c tenancy) alone() []Attachment { return []Attachment{c.Attachment} }

func (n *Network) bench(b *testing.B, number, rules int) tenancy {
	a := Attachment{Slot: slot.Slot{Number: uint32(number) % n.config.Plan.Max(), Epoch: 1}}
	a.Spec.Ports = []isolation.PortMap{{Host: uint16(10000 + number), Container: 8080}}
	web := rangeOf("tcp", internet, internet, span(80, 81))
	a.Spec.Egress = slices.Repeat([]isolation.EgressRule{web}, rules)
	return tenancy{a, newNamespace(b)}
}

func measure(b *testing.B, act func() error) time.Duration {
	b.Helper()
	time.Sleep(idle)
	begun := time.Now()
	if err := act(); err != nil {
		b.Fatal(err)
	}
	return time.Since(begun)
}

func report(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
}

// BenchmarkLife measures each step of containers' lives, one after another.
func BenchmarkLife(b *testing.B) {
	for _, rules := range []int{0, 10, 100, EgressMax} {
		b.Run(fmt.Sprint(rules, " rules"), func(b *testing.B) {
			n, ctx := benchNetwork(b), context.Background()
			var attach, link, admit, refuse, release []time.Duration
			for i := 0; b.Loop(); i++ {
				c := n.bench(b, i, rules)
				attach = append(attach, measure(b, func() error { return n.Attach(ctx, c.Attachment, c.ns.file) }))
				refuse = append(refuse, measure(b, func() error { return n.Refuse(c.Attachment) }))
				c.ns.end()
				release = append(release, measure(b, func() error { return n.Release(ctx, c.alone()) }))

				c = n.bench(b, i, rules)
				link = append(link, measure(b, func() error { return n.addLink(c.Slot, c.ns.file) }))
				addition := n.table.admit(c.Attachment)
				admit = append(admit, measure(b, func() error { return n.additions.run(addition) }))
				c.ns.end()
				if err := n.Release(ctx, c.alone()); err != nil {
					b.Fatal(err)
				}
			}
			for step, took := range map[string][]time.Duration{
				"attach": attach, "link": link, "admit": admit, "refuse": refuse, "release": release} {
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)/2].Microseconds()), step+"-p50-us")
			}
		})
	}
}

// BenchmarkReleaseOf50 is what a batch costs, and what an addition costs that
// comes meanwhile.
func BenchmarkReleaseOf50(b *testing.B) {
	n := benchNetwork(b)
	var whole, meanwhile []time.Duration
	for round := 0; b.Loop(); round++ {
		var gone []Attachment
		for i := range 50 {
			c := n.bench(b, i, 0)
			if err := n.Attach(context.Background(), c.Attachment, c.ns.file); err != nil {
				b.Fatal(err)
			}
			c.ns.end()
			gone = append(gone, c.Attachment)
		}
		other := n.bench(b, 60, 0)
		released := make(chan error, 1)
		begun := time.Now()
		go func() { released <- n.Release(context.Background(), gone) }()
		addition := func() error { return n.additions.run(n.table.admit(other.Attachment)) }
		meanwhile = append(meanwhile, measure(b, addition))
		if err := <-released; err != nil {
			b.Fatal(err)
		}
		whole = append(whole, time.Since(begun))
		other.ns.end()
		if err := n.Release(context.Background(), other.alone()); err != nil {
			b.Fatal(err)
		}
	}
	report(b, whole)
	slices.Sort(meanwhile)
	b.ReportMetric(float64(meanwhile[len(meanwhile)/2].Microseconds()), "meanwhile-p50-us")
}

// BenchmarkChange is what it costs to change a container that lives.
func BenchmarkChange(b *testing.B) {
	n := benchNetwork(b)
	took := map[string][]time.Duration{}
	for i := 0; b.Loop(); i++ {
		c := n.bench(b, i, 0)
		if err := n.Attach(context.Background(), c.Attachment, c.ns.file); err != nil {
			b.Fatal(err)
		}
		note := func(step string, act func() error) { took[step] = append(took[step], measure(b, act)) }
		port := isolation.PortMap{Host: uint16(30000 + i), Container: 8080}
		note("map", func() error { return n.Map(c.Attachment, port) })
		c.Spec.Ports = append(c.Spec.Ports, port)
		for _, rules := range []int{1, 10, 100, EgressMax / 2} {
			web := rangeOf("tcp", internet, internet, span(80, 81), span(443, 443))
			c.Spec.Egress = slices.Repeat([]isolation.EgressRule{web}, rules)
			note(fmt.Sprintf("restrict-%d", 2*rules), func() error { return n.Restrict(c.Attachment) })
		}
		c.Bandwidth = isolation.Bandwidth{Rate: 1 << 20, Burst: 1 << 16}
		note("first-shape", func() error { return n.Shape(c.Attachment, c.ns.file) })
		note("shape", func() error { return n.Shape(c.Attachment, c.ns.file) })
		note("shaped", func() error { _, _, _, err := n.Shaped(c.Attachment, c.ns.file); return err })
		c.ns.end()
		if err := n.Release(context.Background(), c.alone()); err != nil {
			b.Fatal(err)
		}
	}
	for step, all := range took {
		slices.Sort(all)
		b.ReportMetric(float64(all[len(all)/2].Microseconds()), step+"-p50-us")
	}
}
