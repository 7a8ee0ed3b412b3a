package sim

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/deacon-agent/deacon/messaging"
)

// controller is a model of who places applications on the node: it asks for
// them, listens to heartbeats, and asks again where what it sees isn't what it
// wants.
type controller struct {
	w       *world
	wanted  map[string]messaging.StartInstance // by application
	asked   map[string]time.Time               // when a start was sent last
	beat    messaging.Beat
	beaten  time.Time
	version int
}

// applications do what their names say; one name stands for one behaviour.
var applications = []struct {
	name, command string
	steady        bool
	routed        bool
	memory        int64
}{
	{"web", "serve", true, true, 64},
	{"slow", "serve after 3s says", true, true, 128},
	{"mule", "stubborn", true, true, 256},
	{"worker", "serve says", true, false, 64},
	{"brief", "exit 7 after 5s says", false, true, 64},
	{"dud", "exit 3 says", false, true, 64},
	{"deaf", "deaf", false, true, 64},
	{"huge", "serve", false, true, 900},
	{"wrong", "serve", false, true, 64},
	{"empty", "", false, true, 64},
}

func (c *controller) startOf(i, index int) messaging.StartInstance {
	a := applications[i]
	m := messaging.StartInstance{
		Application: a.name, Name: a.name, Version: fmt.Sprint("v", c.version%2), Index: index, StartCommand: a.command,
		Droplet: messaging.Droplet{URI: "http://blobs.example/" + a.name, SHA1: a.name},
		Limits:  messaging.ApplicationLimits{MemoryMiB: a.memory, DiskMiB: 64, Files: 256},
	}
	if a.routed {
		m.URIs = []string{a.name + ".example"}
	}
	return m
}

func (c *controller) start(i, index int) {
	m := c.startOf(i, index)
	if index == 0 {
		c.wanted[m.Application], c.asked[m.Application] = m, c.w.clock.Now()
	}
	c.w.wire.send(m)
}

func (c *controller) stop(f messaging.Filter) {
	if f.Version == "" && f.Instances == nil && f.Indices == nil && f.States == nil {
		delete(c.wanted, f.Application)
	}
	c.w.wire.send(messaging.StopInstances{Filter: f})
}

// update changes what is wanted of an application too.
func (c *controller) update(u messaging.UpdateInstances) {
	if m, wanted := c.wanted[u.Application]; wanted {
		m.Version, m.URIs = cmp.Or(u.Version, m.Version), u.URIs
		c.wanted[u.Application] = m
	}
	c.w.wire.send(u)
}

func (c *controller) hear(b messaging.Beat) { c.beat, c.beaten = b, c.w.clock.Now() }

// startPatience is how long a start may take to be seen in a heartbeat.
const startPatience = 20 * time.Second

// reconcile asks for what is wanted and not there, and stops what is there and
// not wanted.
func (c *controller) reconcile() {
	if c.beaten.IsZero() {
		return
	}
	seen := map[string]string{}
	for _, i := range c.beat.Instances {
		switch i.State {
		case messaging.Crashed:
			continue
		case messaging.Evacuating: // by now it runs on another node
			c.stop(messaging.Filter{Application: i.Application, Instances: []string{i.Instance}})
			continue
		}
		_, wanted := c.wanted[i.Application]
		if _, another := seen[i.Application]; !wanted || another {
			c.stop(messaging.Filter{Application: i.Application, Instances: []string{i.Instance}})
			continue
		}
		seen[i.Application] = i.Instance
	}
	for _, a := range applications {
		m, wanted := c.wanted[a.name]
		if _, there := seen[a.name]; wanted && !there && c.w.clock.Now().Sub(c.asked[a.name]) > startPatience {
			c.asked[a.name] = c.w.clock.Now()
			c.w.wire.send(m)
		}
	}
}

// settle has it want nothing that can't stay.
func (c *controller) settle() {
	for _, a := range applications {
		if !a.steady {
			delete(c.wanted, a.name)
		}
	}
}

// unmet says what is wanted and isn't so; empty: nothing.
func (c *controller) unmet() string {
	running := map[string]int{}
	for _, r := range c.w.store.All() {
		switch r.State {
		case messaging.Running:
			running[r.Start.Application]++
			look, ok := c.w.kernel.Look(r.Placement.Container)
			if !ok || !look.Lives || len(look.Running) != 1 {
				return fmt.Sprintf("%s of %s is RUNNING, and its container is %+v", r.Instance, r.Start.Application, look)
			}
		case messaging.Crashed:
		default:
			return fmt.Sprintf("%s of %s is %s", r.Instance, r.Start.Application, r.State)
		}
	}
	for _, a := range applications {
		_, wanted := c.wanted[a.name]
		if n := running[a.name]; wanted && n != 1 || !wanted && n != 0 {
			return fmt.Sprintf("%d of %s are RUNNING, wanted: %v; last heartbeat %s", n, a.name, wanted, beatText(c.beat))
		}
	}
	return ""
}

func beatText(b messaging.Beat) string {
	var rows []string
	for _, i := range b.Instances {
		rows = append(rows, fmt.Sprintf("%s/%s %s", i.Application, i.Instance, i.State))
	}
	slices.Sort(rows)
	return fmt.Sprint(rows)
}
