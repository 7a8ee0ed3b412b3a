package drill

import (
	"time"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/dea"
)

// watch writes down what nodes tell, and hands on which targets crashed.
func (k *keeper) watch(crashed chan<- string) error {
	take := func(subject string, body []byte) {
		event, err := dea.DecodeEvent(subject, body)
		if err != nil {
			return // anybody may publish anything
		}
		if t := k.write(event); t != "" {
			select {
			case crashed <- t:
			default: // a later look finds it too
			}
		}
	}
	for _, subject := range []string{
		dea.SubjectHeartbeat, dea.SubjectInstance, dea.SubjectExited, dea.SubjectStarted, dea.SubjectActor,
	} {
		if err := k.fleet.Client.Subscribe(subject, take); err != nil {
			return err
		}
	}
	return nil
}

// beat writes a heartbeat down. Only the newest of a node is looked at closely.
func (l *Log) beat(now time.Time, e messaging.Beat) {
	live := map[string]bool{}
	for _, instance := range e.Instances {
		if instance.State != messaging.Crashed {
			live[instance.Instance] = true
		}
	}
	for i := len(l.Beats) - 1; i >= 0; i-- {
		if l.Beats[i].Node == e.NodeID {
			l.Beats[i].Live = nil
			break
		}
	}
	l.Beats = append(l.Beats, Beat{now, e.NodeID, live})
}

// disagrees says which of the instances of a node its newest heartbeat since a
// moment doesn't have; ok: there is one.
func (l *Log) disagrees(node string, since time.Time, instances map[string]string) (lacks []string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.Beats) - 1; i >= 0; i-- {
		if beat := l.Beats[i]; beat.Node == node {
			for instance, at := range instances {
				if at == node && !beat.Live[instance] {
					lacks = append(lacks, instance)
				}
			}
			return lacks, beat.At.After(since)
		}
	}
	return nil, false
}

// write writes an event down; where it is a crash, it returns whose.
func (k *keeper) write(event messaging.Event) (crashed string) {
	k.log.add(func(l *Log) {
		now := time.Now()
		switch e := event.(type) {
		case messaging.Beat:
			if k.nodes[e.NodeID] {
				l.beat(now, e)
			}
		case messaging.NodeStarted:
			if k.nodes[e.Node.ID] {
				l.Begun = append(l.Begun, Beat{At: now, Node: e.Node.ID})
			}
		case messaging.ActorGaveUp:
			if k.nodes[e.NodeID] {
				l.GaveUp = append(l.GaveUp, GivenUp{now, e.NodeID, e.Actor, e.Reason})
			}
		case messaging.InstanceExited:
			if e.Reason != messaging.Crash {
				return
			}
			l.Exits[e.Instance]++
			crashed = k.targetOf(e.Application, e.Index)
		case messaging.InstanceChanged:
			if !k.nodes[e.NodeID] {
				return
			}
			k.learn(e.Instance, place{e.Application, e.Index}, "")
			l.Changes = append(l.Changes, Change{
				At: now, Target: k.targetOf(e.Application, e.Index), Instance: e.Instance, To: string(e.To),
				Ran: e.From == messaging.Running || e.From == messaging.Evacuating, Words: e.Description,
			})
		default: // of no concern
		}
	})
	return crashed
}
