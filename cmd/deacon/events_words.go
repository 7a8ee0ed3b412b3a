package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/dea"
)

// happening is what nodes tell once, when it happens.
var happening = []string{
	dea.SubjectStarted, dea.SubjectShutdown, dea.SubjectInstance, dea.SubjectUpdated, dea.SubjectActor, dea.SubjectAsked,
}

// words says that events are to be said in words.
func (o eventsOptions) words() bool { return o.follow && !o.raw }

// sayMessage says in words what a message tells; one that can't be read is shown
// as it is.
func (s *session) sayMessage(m message) error {
	event, err := dea.DecodeEvent(m.subject, m.body)
	if err != nil {
		return s.showMessage(m)
	}
	_, err = fmt.Fprintf(s.out, "%s  %s\n", m.at.Format("15:04:05"), plain(sentence(event)))
	return err
}

// sentence is one line of English: who, what, why.
func sentence(event messaging.Event) string {
	switch e := event.(type) {
	case messaging.NodeStarted:
		return fmt.Sprintf("node %s has come up at %s (version %s)", e.Node.ID, e.Node.Address, e.Node.Version)
	case messaging.NodeStopped:
		return fmt.Sprintf("node %s takes nothing any more and is about to leave", e.Node.ID)
	case messaging.InstanceChanged:
		return fmt.Sprintf("%s on %s %s", placeOf(e.Application, e.Index), e.NodeID, change(e))
	case messaging.InstanceUpdated:
		return fmt.Sprintf("%s on %s is version %s from now on, at %s", placeOf(e.Application, e.Index), e.NodeID, e.Version,
			cmp.Or(strings.Join(e.URIs, ", "), "no address"))
	case messaging.InstanceExited:
		if e.Reason == messaging.Evacuation {
			return fmt.Sprintf("%s is to be started elsewhere", placeOf(e.Application, e.Index))
		}
		return fmt.Sprintf("%s has crashed: %s", placeOf(e.Application, e.Index), ending(e.Description, e.ExitStatus, ""))
	case messaging.RouteRegistered:
		return fmt.Sprintf("%s answers at %s:%d for %s", e.Route.Application, e.Route.Host, e.Route.Port,
			cmp.Or(strings.Join(e.Route.URIs, ", "), "nobody"))
	case messaging.RouteUnregistered:
		return fmt.Sprintf("%s answers at %s:%d no more", e.Route.Application, e.Route.Host, e.Route.Port)
	case messaging.Advertised:
		return fmt.Sprintf("node %s has %d MiB of memory and %d MiB of disk to give", e.NodeID, e.MemoryMiB, e.DiskMiB)
	case messaging.Beat:
		return fmt.Sprintf("node %s is alive, with %d instances", e.NodeID, len(e.Instances))
	case messaging.ActorGaveUp:
		return fmt.Sprintf("node %s gave up its part %s: %s", e.NodeID, e.Actor, e.Reason)
	case messaging.Asked:
		return fmt.Sprintf("%s was asked %s%s", e.NodeID, request(e), asker(e.Asker))
	case messaging.LogLine:
		return fmt.Sprintf("%s wrote: %s", placeOf(e.Application, e.Index), e.Text)
	default:
		return fmt.Sprintf("%T", event)
	}
}

func placeOf(application string, index int) string { return fmt.Sprintf("%s/%d", application, index) }

func change(e messaging.InstanceChanged) string {
	switch e.To {
	case messaging.Starting:
		return "is starting"
	case messaging.Running:
		return "runs"
	case messaging.Evacuating:
		return "is to be replaced: its node is being left"
	case messaging.Stopping:
		return "is being stopped"
	case messaging.Stopped:
		return "is stopped"
	case messaging.Crashed:
		return "has crashed: " + ending(cmp.Or(e.Description, "nobody knows why"), e.ExitStatus, e.Signal)
	default:
		return "is " + string(e.To)
	}
}

// request says what was asked, by the subject that it was asked on.
func request(e messaging.Asked) string {
	last := e.Asker.Subject[strings.LastIndexByte(e.Asker.Subject, '.')+1:]
	whose := e.Application
	if e.Index >= 0 {
		whose = placeOf(e.Application, e.Index)
	}
	switch last {
	case "start", "stop", "update":
		if e.Instances > 1 {
			whose += fmt.Sprintf(" (%d instances)", e.Instances)
		}
		return "to " + last + " " + whose
	case "evacuate":
		return fmt.Sprintf("to hand over its %d instances and end", e.Instances)
	case "exec":
		return "to run a command in " + whose
	default:
		return "on " + e.Asker.Subject
	}
}

// asker says as much of who asked as is known.
func asker(a messaging.Asker) string {
	switch {
	case a.Account != "":
		return ", by " + a.Account
	case a.By != "":
		return ", by [" + a.By + "]"
	default:
		return "; NATS doesn't say by whom"
	}
}
