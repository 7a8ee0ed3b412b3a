package drill

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/dea"
)

const (
	lookEvery = time.Second
	// againAfter is how long a start may take before it is asked for again.
	againAfter = 15 * time.Second
)

// keeper knows what should run, looks what does, and starts again what the
// drill started itself: the part that a health manager plays.
type keeper struct {
	fleet   Fleet
	targets *targets
	log     *Log
	own     map[string]*wanted // by target
	mu      sync.Mutex
	names   map[string]string // of applications, by id
	places  map[string]place  // of instances, by id
	only    map[string]bool   // targets that are asked; nil: not yet chosen
	asked   []string          // names or ids of what may be asked; none: all
	nodes   map[string]bool   // that the drill is run on
	version string
}

// place is what an instance is one of.
type place struct {
	application string
	index       int
}

// wanted is an instance that the drill keeps.
type wanted struct {
	start messaging.StartInstance
	node  string
	asked time.Time // for a start; zero: never
}

func newKeeper(d *Drill, log *Log) *keeper {
	k := &keeper{
		fleet: d.Fleet, targets: &targets{urls: map[string]string{}}, log: log, own: map[string]*wanted{},
		names: map[string]string{}, places: map[string]place{}, asked: d.Scenario.Load.Applications,
		nodes: map[string]bool{}, version: newID(),
	}
	for _, node := range d.Nodes {
		k.nodes[node] = true
	}
	turn := 0
	for _, a := range d.Scenario.Applications {
		id := "chaos-" + a.Name + "-" + newID()[:8]
		k.names[id] = a.Name
		for index := range a.Instances {
			start := messaging.StartInstance{
				Partition: "default", Application: id, Name: a.Name, Version: k.version, Index: index,
				URIs: []string{a.Name + ".chaos.invalid"}, Stack: a.Stack, StartCommand: a.Command,
				Droplet:         messaging.Droplet{URI: a.Droplet, SHA1: a.SHA1},
				Limits:          messaging.ApplicationLimits{MemoryMiB: a.MemoryMiB, DiskMiB: a.DiskMiB, Files: 256},
				VCAPApplication: []byte(`{"name":"` + a.Name + `"}`),
			}
			k.own[target(a.Name, index)] = &wanted{start: start, node: d.Nodes[turn%len(d.Nodes)]}
			turn++
		}
	}
	return k
}

func newID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails on Linux
	return hex.EncodeToString(b[:])
}

func target(name string, index int) string { return fmt.Sprintf("%s/%d", name, index) }

// targetOf is the target that an instance is, or was.
func (k *keeper) targetOf(application string, index int) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if name := k.names[application]; name != "" {
		return target(name, index)
	}
	return target(application, index)
}

// learn notes where an instance belongs, and what people call its application.
func (k *keeper) learn(instance string, at place, name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.places[instance] = at
	if name != "" && k.names[at.application] == "" {
		k.names[at.application] = name
	}
}

// victim is the target that an instance is; the instance itself where nobody
// has told of it yet.
func (k *keeper) victim(instance string) string {
	k.mu.Lock()
	at, known := k.places[instance]
	k.mu.Unlock()
	if !known {
		return instance
	}
	return k.targetOf(at.application, at.index)
}

// choose keeps what is known now as what is asked until the end.
func (k *keeper) choose() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.only = map[string]bool{}
	for _, t := range k.targets.names() {
		k.only[t] = true
	}
}

// chosen says whether a target is one that is asked until the end; known is
// false as long as they aren't chosen.
func (k *keeper) chosen(target string) (is, known bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.only[target], k.only != nil
}

// found is an instance and the node that told of it.
type found struct {
	node string
	messaging.InstanceRow
}

type rows []found

// view is what the nodes said at one look.
type view struct {
	answered map[string]bool
	running  int
	runs     map[string]string // instances, and their nodes
	missing  []string          // targets that should run and don't, on nodes that answered
	failed   error             // why it is not known, or not mended
}

// look asks the nodes, notes where each target answers, and mends its own.
func (k *keeper) look(ctx context.Context) (view, error) {
	lists, err := k.fleet.instances(ctx)
	if err != nil {
		return view{}, err
	}
	v := view{answered: map[string]bool{}, runs: map[string]string{}}
	live := k.take(&v, lists)
	return v, k.mend(ctx, v, live)
}

// take makes a view of what nodes said.
func (k *keeper) take(v *view, lists []messaging.InstancesListed) (live map[string]rows) {
	live = k.living(lists, v.answered)
	running := map[string]bool{}
	for t, rows := range live {
		for _, row := range rows {
			if row.State == messaging.Running {
				running[t] = true
				v.runs[row.Instance] = row.node
				k.targets.set(t, url(row))
				break
			}
		}
	}
	v.running = len(running)
	k.note(v, running)
	return live
}

// living are the instances of every target, the oldest first. An answer may have
// come twice, and a node may answer in several parts.
func (k *keeper) living(lists []messaging.InstancesListed, answered map[string]bool) map[string]rows {
	live, seen := map[string]rows{}, map[string]bool{}
	for _, list := range lists {
		answered[list.NodeID] = true
		for _, row := range list.Instances {
			k.learn(row.Instance, place{row.Application, row.Index}, row.Name)
			t := k.targetOf(row.Application, row.Index)
			over := row.State == messaging.Crashed || row.State == messaging.Stopped
			if over || seen[row.Instance] || !k.concerns(list.NodeID, row) {
				continue
			}
			seen[row.Instance] = true
			live[t] = append(live[t], found{list.NodeID, row})
		}
	}
	for _, rows := range live {
		slices.SortFunc(rows, func(a, b found) int {
			return cmp.Or(a.Since.Compare(b.Since), strings.Compare(a.Instance, b.Instance))
		})
	}
	return live
}

func url(row found) string {
	return "http://" + netip.AddrPortFrom(row.Host, row.Port).String()
}

// concerns says whether an instance is one that is asked.
func (k *keeper) concerns(node string, row messaging.InstanceRow) bool {
	if !k.nodes[node] || row.Port == 0 {
		return false
	}
	t := k.targetOf(row.Application, row.Index)
	is, known := k.chosen(t)
	switch {
	case k.own[t] != nil:
		return true
	case known:
		return is
	case len(k.asked) == 0:
		return len(k.own) == 0 // who brings applications of his own means those
	}
	for _, name := range k.asked {
		if name == row.Application || name == row.Name {
			return true
		}
	}
	return false
}

// note writes down how many run, and which are missing where that is known: a
// node that doesn't answer may run them all the same.
func (k *keeper) note(v *view, running map[string]bool) {
	all := true
	for node := range k.nodes { // others may have answered too
		all = all && v.answered[node]
	}
	for _, t := range k.targets.names() {
		if own := k.own[t]; !running[t] && (all || own != nil && v.answered[own.node]) {
			v.missing = append(v.missing, t)
			k.targets.set(t, "")
		}
	}
	for t, own := range k.own {
		if k.targets.url(t) == "" && !running[t] && v.answered[own.node] && !slices.Contains(v.missing, t) {
			v.missing = append(v.missing, t)
		}
	}
	if all {
		k.log.add(func(l *Log) {
			l.Health = append(l.Health, Health{time.Now(), v.running, max(len(k.own), len(k.targets.names()))})
		})
	}
}

// mend starts what is missing and stops what is there twice, of its own.
func (k *keeper) mend(ctx context.Context, v view, live map[string]rows) error {
	for t, own := range k.own {
		switch rows := live[t]; {
		case len(rows) == 0 && v.answered[own.node] && time.Since(own.asked) > againAfter:
			if err := k.start(ctx, own); err != nil {
				return err
			}
		case len(rows) > 1:
			if err := k.stopAllButOne(ctx, own, rows); err != nil {
				return err
			}
		}
	}
	return nil
}

func (k *keeper) start(ctx context.Context, own *wanted) error {
	subject, body, err := dea.EncodeCommand(own.start, own.node)
	if err != nil {
		return err
	}
	own.asked = time.Now()
	return k.fleet.Client.Publish(ctx, subject, body)
}

func (k *keeper) stopAllButOne(ctx context.Context, own *wanted, rows rows) error {
	var extra []string
	kept := false
	for _, row := range rows {
		if row.State == messaging.Running && !kept {
			kept = true
			continue
		}
		extra = append(extra, row.Instance)
	}
	if !kept {
		extra = extra[1:]
	}
	return k.stop(ctx, messaging.Filter{Application: own.start.Application, Instances: extra})
}

func (k *keeper) stop(ctx context.Context, f messaging.Filter) error {
	if len(f.Instances) > 0 {
		k.log.add(func(l *Log) { l.Ordered = append(l.Ordered, f.Instances...) })
	}
	subject, body, err := dea.EncodeCommand(messaging.StopInstances{Filter: f}, "")
	if err != nil {
		return err
	}
	return k.fleet.Client.Publish(ctx, subject, body)
}

// forget has the next look start a target again at once.
func (k *keeper) forget(target string) {
	if own := k.own[target]; own != nil {
		own.asked = time.Time{}
	}
}

// run looks until ctx ends.
func (k *keeper) run(ctx context.Context, crashed <-chan string, see func(view)) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case t := <-crashed:
			k.forget(t)
			continue
		case <-tick.C:
		}
		v, err := k.look(ctx)
		v.failed = err
		see(v)
	}
}
