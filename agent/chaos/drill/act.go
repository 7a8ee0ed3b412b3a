package drill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
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
		done := Done{Fault: act.Order.Fault, Node: r.Nodes[act.Node], From: time.Now()}
		if done.From.Sub(r.began) > r.Scenario.Duration {
			done.To, done.Skipped = done.From, "its time was over, because those before took longer than planned"
		} else {
			order := act.Order
			order.ID = r.keeper.version[:8] + "-" + order.ID // a replay is no repetition
			done = r.inject(ctx, done, order)
		}
		switch {
		case done.Skipped != "":
			r.Note("%6s  %s: not done, %s", since(r.began, done.From), done.Fault, done.Skipped)
		case done.Error != "":
			r.Note("%6s  %s: failed, %s", since(r.began, done.From), done.Fault, done.Error)
		default:
			r.Note("%6s  %s", since(r.began, done.From), sentence(done.Fault, done.Target, done.Note))
		}
		r.log.add(func(l *Log) { l.Done = append(l.Done, done) })
	}
}

// sentence is its words, without those that are empty.
func sentence(words ...string) string {
	return strings.Join(slices.DeleteFunc(words, func(word string) bool { return word == "" }), " ")
}

func since(began, at time.Time) string { return at.Sub(began).Round(100 * time.Millisecond).String() }

// inject has one fault done and says what is known of it.
func (r *run) inject(ctx context.Context, done Done, order chaos.Order) Done {
	if order.Fault == chaos.AgentStopped.Name {
		return r.stopAgent(ctx, done, order)
	}
	was, err := r.reach(ctx, done.Node)
	var answer chaos.Injected
	done.From = time.Now()
	if err == nil {
		answer, err = r.order(ctx, done.Node, order)
	}
	done.To = time.Now()
	if refused, ok := errors.AsType[*bus.RefusedError](err); ok && refused.Code == chaos.CodeUnavailable {
		done.Skipped = strings.TrimPrefix(refused.Text, order.Fault+": ") // it is said beside it
		return done
	}
	if err != nil && ctx.Err() != nil {
		done.Skipped = "the drill was ended early"
		return done
	}
	if err != nil {
		done.Error = err.Error()
		return done
	}
	done.Note, done.Instance, done.To = answer.Note, answer.Instance, done.To.Add(answer.For.Duration())
	if answer.Instance != "" {
		done.Target = r.keeper.victim(answer.Instance)
	}
	if fault, _ := chaos.Find(order.Fault); fault.Silences && answer.For == 0 { // it ends the agent
		done.To = r.awaitSuccessor(ctx, done.Node, was.PID)
	}
	return done
}

// orderMax is somewhat longer than a node takes at most to carry out an order.
const orderMax = 40 * time.Second

// order has a node carry out an order. An answer may be lost: it is asked again
// then, and the order's id keeps it from being carried out twice. Ctrl-C doesn't
// cut it off, or what was begun could not be taken back.
func (r *run) order(ctx context.Context, node string, order chaos.Order) (answer chaos.Injected, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), orderMax)
	defer cancel()
	for {
		err = r.Fleet.ask(ctx, address{node, chaos.VerbInject}, order, &answer)
		if _, refused := errors.AsType[*bus.RefusedError](err); err == nil || refused || ctx.Err() != nil {
			return answer, err
		}
		wait(ctx, lookEvery/4)
	}
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
	process, err := r.hold(ctx, done.Node, listing.PID)
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

// hold returns the pidfd of a node's agent. A number alone may have become
// another process's meanwhile: the agent that still has it when it is held
// must be the one that answers.
func (r *run) hold(ctx context.Context, node string, pid int) (process int, err error) {
	process, err = unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1, err
	}
	now, err := r.Fleet.Listing(ctx, node)
	if err == nil && now.PID != pid {
		err = fmt.Errorf("the agent is process %d by now", now.PID)
	}
	if err != nil {
		return -1, errors.Join(err, unix.Close(process))
	}
	return process, nil
}

// healAll takes back whatever isn't over by itself, on all nodes at once. A node
// that can't be reached heals itself when its time is over; it is asked until
// then.
func (r *run) healAll() {
	ctx, cancel := context.WithTimeout(context.Background(), r.Scenario.Recovery)
	defer cancel()
	var healing sync.WaitGroup
	for _, node := range r.Nodes {
		healing.Go(func() {
			for ctx.Err() == nil {
				var healed chaos.Healed
				err := r.Fleet.ask(ctx, address{node, chaos.VerbHeal}, chaos.Healing{}, &healed)
				if err == nil && len(healed.Errors) == 0 {
					return
				}
				wait(ctx, lookEvery)
			}
		})
	}
	healing.Wait()
}
