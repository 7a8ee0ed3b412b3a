package sim

import (
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"strings"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/testsuite/model"
)

// describe is a command in a line.
func describe(c messaging.Command) string {
	switch m := c.(type) {
	case messaging.StartInstance:
		return fmt.Sprintf("start %s/%d %s %q", m.Application, m.Index, m.Version, m.StartCommand)
	case messaging.StopInstances:
		f := m.Filter
		return fmt.Sprintf("stop %s %s %v %v %v", f.Application, f.Version, f.Instances, f.Indices, f.States)
	case messaging.UpdateInstances:
		return fmt.Sprintf("update %s %s %v", m.Application, m.Version, m.URIs)
	case messaging.CreateContainer:
		name := "-"
		if m.Handle != nil {
			name = *m.Handle
		}
		return fmt.Sprintf("create %s %s", name, m.Network)
	case messaging.SpawnJob:
		return fmt.Sprintf("spawn %s %q", m.Handle, m.Script.Text)
	case messaging.RunJob:
		return fmt.Sprintf("run %s %q", m.Handle, m.Script.Text)
	case messaging.LinkJob:
		return fmt.Sprintf("link %s %d", m.Handle, m.Job)
	case messaging.StreamJob:
		return fmt.Sprintf("stream %s %d", m.Handle, m.Job)
	case messaging.ContainerCommand:
		return shortName(m) + " " + m.Named()
	default:
		return shortName(c)
	}
}

func shortName(v any) string { return strings.TrimPrefix(fmt.Sprintf("%T", v), "messaging.") }

// describeEvent is an event in a line; empty for what comes all the time.
func describeEvent(e messaging.Event) string {
	switch e := e.(type) {
	case messaging.InstanceChanged:
		return fmt.Sprintf("%s of %s: %s -> %s %s", e.Instance, e.Application, e.From, e.To, e.Description)
	case messaging.InstanceExited:
		if e.Reason != messaging.Crash {
			return fmt.Sprintf("%s of %s is about to exit: %s", e.Instance, e.Application, e.Reason)
		}
		return fmt.Sprintf("%s of %s exited: %d %q", e.Instance, e.Application, e.ExitStatus, e.Description)
	case messaging.RouteRegistered:
		return fmt.Sprintf("route %v to %s at port %d", e.Route.URIs, e.Route.Application, e.Route.Port)
	case messaging.RouteUnregistered:
		return fmt.Sprintf("no route %v to %s at port %d", e.Route.URIs, e.Route.Application, e.Route.Port)
	case messaging.InstanceUpdated:
		return fmt.Sprintf("%s of %s: %s now, %s, %v", e.Was, e.Application, e.Instance, e.Version, e.URIs)
	case messaging.ActorGaveUp:
		return fmt.Sprintf("%s gave up: %s", e.Actor, e.Reason)
	case messaging.Answered:
		return fmt.Sprintf("answers client %d, request %d: %s", e.Ask.Client, e.Ask.Request, describeAnswer(e.Answer))
	case messaging.AsksForgotten, messaging.NodeStopped:
		return shortName(e)
	default:
		return ""
	}
}

func describeAnswer(a messaging.Answer) string {
	switch a := a.(type) {
	case messaging.ContainerInspected:
		return fmt.Sprintf("%s, jobs %d, events %q", a.Info.State, a.Info.Jobs, a.Info.Events)
	case messaging.JobLinked:
		return fmt.Sprintf("exit %d, %q", a.Status, a.Stdout)
	case messaging.JobStreamed:
		return fmt.Sprintf("exit %d", a.Status)
	case messaging.Done:
		return "done"
	default:
		return fmt.Sprintf("%s %v", shortName(a), a)
	}
}

func mapKeys[K comparable, V any](m map[K]V) iter.Seq[K] { return maps.Keys(m) }

// handleOf is the name that clients have for a container, as its note has it.
func handleOf(spec isolation.Spec) (name string, taken bool) {
	var note struct {
		Handle []byte `json:"handle"`
		Taken  bool   `json:"taken"`
	}
	if err := json.Unmarshal(spec.Note, &note); err != nil {
		return "", false
	}
	return string(note.Handle), note.Taken
}

// named is the container that clients mean by a handle: the newest of those that
// were there already; none: there is no such container.
func (c *clients) named(handle string, a *asked) (found []model.Resident) {
	newest := 0
	for _, spec := range c.w.held() {
		if spec.Owner != isolation.OwnerWarden {
			continue
		}
		number := 0
		fmt.Sscanf(spec.ID, "c%d", &number)
		if name, _ := handleOf(spec); name != handle || number < newest || number > a.ids {
			continue
		}
		if r, ok := c.w.kernel.Look(spec.ID); ok {
			newest, found = number, []model.Resident{r}
		}
	}
	return found
}
