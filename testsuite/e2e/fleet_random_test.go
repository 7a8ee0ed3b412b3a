package e2e

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

var (
	fleetSeed = flag.Uint64("fleet.seed", 0, "seed of the random controller; 0: drawn")
	fleetOps  = flag.Int("fleet.ops", 200, "how many operations it does")
)

// wish is what the controller wants of an application.
type wish struct {
	version   int
	instances int
	uris      []string
}

func (w wish) tag() string { return fmt.Sprint("v", w.version) }

// place is one instance, as a controller counts.
type placeOf struct {
	app     string
	index   int
	version string
}

// offered is what a node said last of its room.
type offered struct {
	ID     string
	Memory int            `json:"available_memory"`
	Apps   map[string]int `json:"app_id_to_count"`
}

// placer is a stand-in for a cloud controller: it places by dea.advertise, and sees
// only heartbeats.
type placer struct {
	f      *fleet
	r      *rand.Rand
	wishes map[string]wish

	mu    sync.Mutex
	ads   map[string]offered
	beats map[string][]row
}

// row is one of a heartbeat.
type row struct {
	Droplet, Version, Instance, State string
	Index                             int
}

func newPlacer(f *fleet, seed uint64) *placer {
	p := &placer{
		f: f, r: rand.New(rand.NewPCG(seed, 0)), wishes: map[string]wish{}, ads: map[string]offered{},
		beats: map[string][]row{},
	}
	for subject, take := range map[string]func(*nats.Msg){"dea.advertise": p.advertised, "dea.heartbeat": p.beaten} {
		if _, err := f.ctl.Conn.Subscribe(subject, take); err != nil {
			f.t.Fatal(err)
		}
	}
	f.ctl.Publish("dea.locate", map[string]any{})
	if !f.waits(soon, func() bool { p.mu.Lock(); defer p.mu.Unlock(); return len(p.ads) == 2 }) {
		f.t.Fatal("not both nodes make offers")
	}
	return p
}

func (p *placer) advertised(m *nats.Msg) {
	var ad offered
	if err := json.Unmarshal(m.Data, &ad); err != nil {
		p.f.t.Errorf("%s: %v", m.Data, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if ad.Apps == nil {
		ad.Apps = map[string]int{}
	}
	p.ads[ad.ID] = ad
}

func (p *placer) beaten(m *nats.Msg) {
	var beat struct {
		DEA      string
		Droplets []row
	}
	if err := json.Unmarshal(m.Data, &beat); err != nil {
		p.f.t.Errorf("%s: %v", m.Data, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.beats[beat.DEA] = beat.Droplets
}

// choose is CC's placement: fewest instances of the application, then most memory;
// it counts what it has placed until the next offer.
func (p *placer) choose(app string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	best := slices.MinFunc(slices.Collect(maps.Values(p.ads)), func(a, b offered) int {
		return cmp.Or(cmp.Compare(a.Apps[app], b.Apps[app]), cmp.Compare(b.Memory, a.Memory), cmp.Compare(a.ID, b.ID))
	})
	best.Memory -= 32
	best.Apps[app]++
	p.ads[best.ID] = best
	return best.ID
}

func (p *placer) start(app string, index int) {
	w := p.wishes[app]
	p.f.ctl.Publish("dea."+p.choose(app)+".start", message(app, p.f.serve, map[string]any{
		"index": index, "version": w.tag(), "uris": w.uris,
		"limits": map[string]any{"mem": 32, "disk": 16, "fds": 256},
	}))
}

func urisOf(r *rand.Rand, app string) (uris []string) {
	for _, host := range []string{"www", "api", "beta"} {
		if r.IntN(2) == 0 {
			uris = append(uris, host+"."+app+".example")
		}
	}
	return append(uris, app+".example")
}

// do is one operation: an application comes, grows, shrinks, changes or goes.
func (p *placer) do() string {
	app := fmt.Sprint("app", p.r.IntN(4))
	w, there := p.wishes[app]
	if !there {
		w = wish{instances: 1 + p.r.IntN(3), uris: urisOf(p.r, app)}
		p.wishes[app] = w
		for i := range w.instances {
			p.start(app, i)
		}
		return fmt.Sprintf("%s comes with %d", app, w.instances)
	}
	switch p.r.IntN(6) {
	case 0, 1:
		return p.scale(app, w, 1+p.r.IntN(4))
	case 2:
		w.uris = urisOf(p.r, app)
		p.wishes[app] = w
		p.f.ctl.Publish("dea.update", map[string]any{"droplet": app, "uris": w.uris, "version": w.tag()})
		return fmt.Sprintf("%s gets %v", app, w.uris)
	case 3: // in place: another version of the same droplet
		w.version++
		p.wishes[app] = w
		p.f.ctl.Publish("dea.update", map[string]any{"droplet": app, "uris": w.uris, "version": w.tag()})
		return fmt.Sprintf("%s becomes %s", app, w.tag())
	case 4: // the new version beside the old one, which then goes
		old := w.tag()
		w.version++
		p.wishes[app] = w
		for i := range w.instances {
			p.start(app, i)
		}
		p.f.ctl.Publish("dea.stop", map[string]any{"droplet": app, "version": old})
		return fmt.Sprintf("%s is replaced by %s", app, w.tag())
	default:
		delete(p.wishes, app)
		p.f.ctl.Publish("dea.stop", map[string]any{"droplet": app})
		return app + " goes"
	}
}

func (p *placer) scale(app string, w wish, to int) string {
	from := w.instances
	w.instances = to
	p.wishes[app] = w
	var over []int
	for i := to; i < from; i++ {
		over = append(over, i)
	}
	if len(over) > 0 {
		p.f.ctl.Publish("dea.stop", map[string]any{"droplet": app, "version": w.tag(), "indices": over})
	}
	for i := from; i < to; i++ {
		p.start(app, i)
	}
	return fmt.Sprintf("%s has %d, not %d", app, to, from)
}

// unmet says what heartbeats, routes or processes are otherwise than was asked for;
// empty: nothing.
func (p *placer) unmet(routes *router) string {
	wanted, got := map[placeOf]int{}, map[placeOf]int{}
	endpoints := map[string]int{}
	for app, w := range p.wishes {
		for i := range w.instances {
			wanted[placeOf{app, i, w.tag()}] = 1
		}
		for _, uri := range w.uris {
			endpoints[uri] = w.instances
		}
	}
	p.mu.Lock()
	beats := maps.Clone(p.beats)
	p.mu.Unlock()
	running := map[string]int{}
	for node, rows := range beats {
		for _, r := range rows {
			if r.State != "RUNNING" {
				return fmt.Sprintf("%s/%d is %s", r.Droplet, r.Index, r.State)
			}
			got[placeOf{r.Droplet, r.Index, r.Version}]++
			running[node]++
		}
	}
	if !maps.Equal(wanted, got) {
		return fmt.Sprintf("heartbeats have %v, wanted is %v", got, wanted)
	}
	if known := routes.counts(); !maps.Equal(endpoints, known) {
		return fmt.Sprintf("routers know %v, wanted is %v", known, endpoints)
	}
	for node, id := range map[*rig.Node]string{p.f.node: p.f.id, p.f.other: p.f.otherID} {
		if n := processes(p.f.t, node); n != running[id] {
			return fmt.Sprintf("%s tells of %d instances, and the kernel has %d processes of them", id, running[id], n)
		}
	}
	return ""
}

// processes counts those of the applications in a node's groups: each is in one group
// of every hierarchy, with the same name below the node's.
func processes(t testing.TB, n *rig.Node) int {
	traces := rig.TracesOf(t, filepath.Join(n.State, "s"))
	nowhere := netip.MustParsePrefix("192.0.2.0/24")
	groups := map[string]bool{}
	for _, thing := range traces.Inventory(nowhere, n.PID()) {
		if _, group, is := strings.Cut(thing, "/app in "); is && strings.HasPrefix(thing, "process of ") {
			_, below, _ := strings.Cut(group, "/deacon-"+traces.Tag)
			groups[below] = true
		}
	}
	return len(groups)
}

// counts are the endpoints by uri.
func (r *router) counts() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts := map[string]int{}
	for uri, known := range r.known {
		if len(known) > 0 {
			counts[uri] = len(known)
		}
	}
	return counts
}

// Whatever a controller asks for in whatever order, it ends as it was asked for last,
// on two nodes whose agents are killed now and then.
func TestAFleetEndsAsItWasAskedFor(t *testing.T) {
	seed := *fleetSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d; again: go test ./testsuite/e2e -run %s -fleet.seed=%d -fleet.ops=%d", seed, t.Name(), seed, *fleetOps)
	f := newFleet(t)
	routes := newRouter(t, f.ctl.Conn)
	p := newPlacer(f, seed)
	var story []string
	for n := range *fleetOps {
		story = append(story, p.do())
		time.Sleep(time.Duration(p.r.IntN(100)) * time.Millisecond)
		if n%67 == 66 {
			node := []*rig.Node{f.node, f.other}[p.r.IntN(2)]
			story = append(story, "an agent is killed")
			node.Kill()
			node.Start()
		}
		if n%50 != 49 && n != *fleetOps-1 {
			continue
		}
		if reason := p.settles(routes); reason != "" {
			t.Fatalf("after %d operations, the last of which are %q: %s", n+1, story[max(0, len(story)-20):], reason)
		}
	}
	clear(p.wishes)
	for n := range 4 {
		f.ctl.Publish("dea.stop", map[string]any{"droplet": fmt.Sprint("app", n)})
	}
	if reason := p.settles(routes); reason != "" {
		t.Errorf("at the end: %s", reason)
	}
}

// settles waits until all is as it is wanted, and returns what is not.
func (p *placer) settles(routes *router) (reason string) {
	p.f.waits(late, func() bool {
		p.f.ctl.Publish("healthmanager.start", map[string]any{})
		time.Sleep(100 * time.Millisecond)
		reason = p.unmet(routes)
		return reason == ""
	})
	return reason
}
