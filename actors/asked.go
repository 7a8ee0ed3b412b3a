package actors

import (
	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/messaging"
)

// attributed is a command that acts, and who asked for it.
type attributed struct {
	command messaging.Command
	asker   messaging.Asker
}

func (attributed) instances() {}

// note tells of a command that is about to be carried out. One that concerns
// nothing of this node's is no news: it was said to all of them.
func (s *instances) note(c *kit.Context[instancesMessage], m attributed) {
	told := messaging.Asked{NodeID: s.w.Node.ID, Asker: m.asker, Index: -1, At: c.Now()}
	switch command := m.command.(type) {
	case messaging.StartInstance:
		if !s.takes() {
			return
		}
		told.Application, told.Index, told.Instances = command.Application, command.Index, 1
	case messaging.StopInstances:
		told.Application = command.Filter.Application
		told.Index, told.Instances = s.concerned(command.Filter)
	case messaging.UpdateInstances:
		told.Application = command.Application
		told.Index, told.Instances = s.concerned(messaging.Filter{Application: command.Application})
	case messaging.EvacuateNode:
		for _, r := range s.w.Store.All() {
			if r.live() {
				told.Instances++
			}
		}
		s.w.tell(told)
		return
	default: // changes nothing
		return
	}
	if told.Instances > 0 {
		s.w.tell(told)
	}
}

// concerned says how many living instances a filter selects, and the index where
// that is one.
func (s *instances) concerned(f messaging.Filter) (index, count int) {
	index = -1
	for _, r := range s.selected(f) {
		if !r.live() {
			continue
		}
		if count++; count == 1 {
			index = r.Start.Index
		} else {
			index = -1
		}
	}
	return index, count
}
