package sweep

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

// row waits for a heartbeat that has an application with these values.
func (l *living) row(name string, values map[string]any) error {
	reason := errors.New("no heartbeat has it")
	for deadline := time.Now().Add(soon); time.Now().Before(deadline); {
		l.ctl.Publish("healthmanager.start", map[string]any{})
		beat, _ := l.ctl.Next("dea.heartbeat", time.Second)
		rows, _ := beat.Body["droplets"].([]any)
		for _, row := range rows {
			row, is := row.(map[string]any)
			if !is || row["droplet"] != name {
				continue
			}
			same := func(key string) bool { return row[key] == values[key] }
			if !slices.ContainsFunc(slices.Collect(maps.Keys(values)), func(key string) bool { return !same(key) }) {
				return nil
			}
			reason = fmt.Errorf("the last heartbeat has %v, want %v", row, values)
		}
	}
	return reason
}

func updateApplication(l *living, p *promises, name string) {
	l.ctl.Publish("dea.update", map[string]any{"droplet": name, "uris": []string{name + ".test"}, "version": "next"})
	updated, ok := l.hears("deacon.v1.updated", rig.With("application", name))
	if !ok {
		return
	}
	p.add("updated, so it is known by its new id", func() error {
		if l.died[pid1] {
			return nil // it may have crashed as what it was then
		}
		return l.row(name, map[string]any{"version": "next", "instance": updated.Body["instance"]})
	})
	p.add("updated, so routers are told of nothing else", func() error {
		l.ctl.Publish("router.start", map[string]any{})
		seen, ok := l.ctl.Next("router.register", soon, rig.With("app", name))
		for more := true; ok && more; { // what was told before may be read yet
			var next rig.Seen
			if next, more = l.ctl.Next("router.register", 50*time.Millisecond, rig.With("app", name)); more {
				seen = next
			}
		}
		if !l.died[pid1] && (!ok || !strings.Contains(string(seen.Raw), `["`+name+`.test"]`)) {
			return fmt.Errorf("they are told %s", seen.Raw)
		}
		return nil
	})
}

// evacuate tells the node to leave, and says whether it answers.
func (l *living) evacuate(limit time.Duration) error {
	answer, err := l.ctl.Ask("deacon.v1."+l.id+".evacuate", limit)
	if err != nil {
		return err
	}
	var told struct{ Node string }
	if err := json.Unmarshal(answer, &told); err != nil || told.Node != l.id {
		return fmt.Errorf("the answer is %s: %v", answer, err)
	}
	return nil
}

func evacuateNode(l *living, p *promises, name string) {
	p.all = nil // it is to go, once it is stopped
	leaving := func(s rig.Seen) bool { return strings.Contains(string(s.Raw), `"EVACUATING"`) }
	if l.evacuate(time.Second) == nil {
		if _, ok := l.hears("dea.heartbeat", leaving); ok {
			p.add("told to be leaving, so it is", func() error {
				if l.died[pid1] {
					return nil
				}
				return l.row(name, map[string]any{"state": "EVACUATING"})
			})
		}
	}
	p.add("evacuated and stopped, so the agent ends", func() error {
		// Whether or not somebody heard it before; where the application is dead
		// the agent may have ended by itself.
		if err := l.evacuate(soon); err != nil && !errors.Is(err, rig.ErrNobody) {
			return err
		}
		l.ctl.Publish("dea.stop", map[string]any{"droplet": name})
		code := l.node.WaitEnd(deathMax)
		l.successor(false)
		if code != 0 {
			return fmt.Errorf("it ended with %d", code)
		}
		return nil
	})
}
