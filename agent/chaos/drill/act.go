package drill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/agent/chaos"
	"github.com/deacon-agent/deacon/messaging/bus"
)

// act injects every fault at its time.
func (r *run) act(ctx context.Context, acts []Act) {
	for _, act := range acts {
		wait(ctx, time.Until(r.began.Add(act.At)))
		if ctx.Err() != nil {
			return
		}
		if late := time.Since(r.began) - r.Scenario.Duration; late > 0 {
			r.Note("faults took longer than planned: what was left of them is not done")
			return
		}
		node := r.Nodes[act.Node]
		done := r.inject(ctx, node, act.Order)
		switch {
		case done.Skipped != "":
			r.Note("%6s  %s: not done, %s", since(r.began, done.From), done.Fault, done.Skipped)
		case done.Error != "":
			r.Note("%6s  %s: failed, %s", since(r.began, done.From), done.Fault, done.Error)
		default:
			r.Note("%6s  %s %s %s", since(r.began, done.From), done.Fault, done.Target, done.Note)
		}
		r.log.add(func(l *Log) { l.Done = append(l.Done, done) })
	}
}

func since(began, at time.Time) string { return at.Sub(began).Round(100 * time.Millisecond).String() }

// inject has one fault done and says what is known of it.
func (r *run) inject(ctx context.Context, node string, order chaos.Order) Done {
	done := Done{Fault: order.Fault, Node: node, From: time.Now()}
	if order.Fault == chaos.AgentStopped.Name {
		return r.stopAgent(ctx, done, order)
	}
	was, err := r.reach(ctx, node)
	var answer chaos.Injected
	done.From = time.Now()
	if err == nil {
		err = r.Fleet.ask(ctx, address{node, chaos.VerbInject}, order, &answer)
	}
	done.To = time.Now()
	if refused, ok := errors.AsType[*bus.RefusedError](err); ok && refused.Code == chaos.CodeUnavailable {
		done.Skipped = refused.Text
		return done
	}
	if err != nil {
		done.Error = err.Error()
		return done
	}
	done.Note, done.Instance, done.To = answer.Note, answer.Instance, done.To.Add(answer.For.Duration())
	if answer.Instance != "" {
		done.Target = r.victim(ctx, answer.Instance)
	}
	if fault, _ := chaos.Find(order.Fault); fault.Silences && answer.For == 0 { // it ends the agent
		done.To = r.awaitSuccessor(ctx, node, was.PID)
	}
	return done
}

// reach asks a node what can be done to it, and gives it time: what it was done
// last may just be over.
func (r *run) reach(ctx context.Context, node string) (listing chaos.Listing, err error) {
	for deadline := time.Now().Add(r.Scenario.Recovery); ; {
		listing, err = r.Fleet.Listing(ctx, node)
		if err == nil || ctx.Err() != nil || time.Now().After(deadline) {
			return listing, err
		}
		wait(ctx, lookEvery/4)
	}
}

// victim is the target that an instance is; the instance itself where nobody knows.
func (r *run) victim(ctx context.Context, instance string) string {
	name := instance
	lists, err := r.Fleet.instances(ctx)
	if err != nil {
		return name
	}
	for _, list := range lists {
		for _, row := range list.Instances {
			if row.Instance == instance {
				name = r.keeper.targetOf(row.Application, row.Index)
			}
		}
	}
	return name
}

// awaitSuccessor returns when another agent answers, or can't be waited for longer.
func (r *run) awaitSuccessor(ctx context.Context, node string, was int) time.Time {
	deadline := time.Now().Add(r.Scenario.Recovery)
	for time.Now().Before(deadline) && ctx.Err() == nil {
		if now, err := r.Fleet.Listing(ctx, node); err == nil && now.PID != was {
			break
		}
		wait(ctx, lookEvery/4)
	}
	return time.Now()
}

// stopAgent stops an agent on this machine, and continues it whatever happens.
func (r *run) stopAgent(ctx context.Context, done Done, order chaos.Order) Done {
	listing, err := r.reach(ctx, done.Node)
	if err != nil {
		done.Error = err.Error()
		return done
	}
	if err := sameMachine(listing); err != nil {
		done.Skipped = err.Error()
		return done
	}
	lasts := order.For.Duration()
	if lasts == 0 {
		lasts = chaos.AgentStopped.For
	}
	process, err := unix.PidfdOpen(listing.PID, 0)
	if err == nil {
		defer unix.Close(process)
		if err = r.ResumeLater(process, lasts); err == nil {
			err = unix.PidfdSendSignal(process, unix.SIGSTOP, nil, 0)
		}
	}
	if err != nil {
		done.Error = fmt.Sprintf("stop process %d: %v", listing.PID, err)
		return done
	}
	wait(ctx, lasts)
	if err := unix.PidfdSendSignal(process, unix.SIGCONT, nil, 0); err != nil {
		done.Error = fmt.Sprintf("continue process %d: %v", listing.PID, err)
	}
	done.Note, done.To = fmt.Sprintf("process %d", listing.PID), time.Now()
	return done
}

// healAll takes back whatever isn't over by itself. A node that can't be
// reached heals itself when its time is over; it is asked until then.
func (r *run) healAll() {
	ctx, cancel := context.WithTimeout(context.Background(), r.Scenario.Recovery)
	defer cancel()
	for _, node := range r.Nodes {
		for {
			var healed chaos.Healed
			err := r.Fleet.ask(ctx, address{node, chaos.VerbHeal}, chaos.Healing{}, &healed)
			if err == nil && len(healed.Errors) == 0 || ctx.Err() != nil {
				break
			}
			wait(ctx, lookEvery)
		}
	}
}
