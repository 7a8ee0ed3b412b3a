package actors

import (
	"context"
	"errors"
	"fmt"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/messaging"
)

// ErrNoInstance says that the node has no such instance, or that nobody looks
// after it any more.
var ErrNoInstance = errors.New("there is no such instance on this node")

// NotRunningError says that an instance has no container in which to run anything.
type NotRunningError struct{ State messaging.State }

func (e *NotRunningError) Error() string {
	return fmt.Sprintf("the instance is %s; a command needs one that runs, or is starting in its container", e.State)
}

// entered is the answer to who asks to enter an instance's container.
type entered struct {
	record Record
	err    error
}

// enter asks an instance, by the id that the wire knows, whether a further command
// may be run in its container.
type enter struct {
	named string
	reply kit.Reply[entered]
}

func (enter) node()      {}
func (enter) instances() {}
func (enter) instance()  {}

// Enter is for whoever wants to run something beside an instance: the record says
// where. Nothing of the instance's own depends on what comes of it.
func (t *Tree) Enter(ctx context.Context, instance string) (Record, error) {
	answer, err := kit.Ask(ctx, t.root, func(r kit.Reply[entered]) nodeMessage { return enter{instance, r} })
	if err != nil {
		return Record{}, fmt.Errorf("actors: enter %s: %w", instance, err)
	}
	return answer.record, answer.err
}

func (s *instances) enter(m enter) {
	for _, r := range s.w.Store.All() {
		if ref, held := s.held[r.Instance]; held && r.Named() == m.named {
			ref.Tell(m)
			return
		}
	}
	m.reply.Send(entered{err: ErrNoInstance})
}

// enter lets in where the job runs, as far as the instance knows: one that is
// starting may be what somebody wants to look at most.
func (i *instance) enter(m enter) {
	if i.held && !i.over && (i.state == instanceRunning || i.state == instanceStarting) {
		m.reply.Send(entered{record: i.record})
		return
	}
	state, _ := i.record.outward(i.record.State)
	m.reply.Send(entered{err: &NotRunningError{state}})
}
