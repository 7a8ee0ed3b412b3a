package drill

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/deacon-agent/deacon/agent/chaos"
	"github.com/deacon-agent/deacon/messaging"
)

// Drill is one run of a scenario.
type Drill struct {
	Scenario Scenario
	Seed     uint64
	Nodes    []string
	Fleet    Fleet
	Replay   string                           // the command that runs it again
	Note     func(format string, args ...any) // says what goes on
	// ResumeLater has somebody who outlives the drill continue a process, held by
	// a pidfd, that is about to be stopped.
	ResumeLater func(process int, after time.Duration) error
}

// beginMax is how long the drill's own applications may take to run at first.
const beginMax = 5 * time.Minute

// run is a drill under way.
type run struct {
	*Drill
	log     *Log
	keeper  *keeper
	before  map[string]chaos.Audit
	after   map[string]chaos.Audit
	views   chan view // the newest
	began   time.Time
	healed  time.Time // the faults' end
	ended   time.Time
	leftMsg []string // what was not well at the end
	// cutShort says that nobody looked whether all was well at the end.
	cutShort bool
}

// Run plays the scenario and returns what came of it. An error says that it
// could not be played; whether the nodes stood it is in the report.
func (d *Drill) Run(ctx context.Context) (Report, error) {
	r := &run{
		Drill: d, log: &Log{Exits: map[string]int{}}, views: make(chan view, 1),
		before: map[string]chaos.Audit{}, after: map[string]chaos.Audit{},
	}
	r.keeper = newKeeper(d, r.log)
	for _, node := range d.Nodes {
		if _, err := d.Fleet.Listing(ctx, node); err != nil {
			return Report{}, fmt.Errorf("node %s: %w", node, err)
		}
	}
	crashed := make(chan string, instancesMax)
	if err := r.keeper.watch(crashed); err != nil {
		return Report{}, err
	}
	looking, stopLooking := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() { r.keeper.run(looking, crashed, r.see) })
	err := r.play(ctx)
	stopLooking()
	work.Wait()
	// Also after Ctrl-C: what was begun is taken back.
	if left := r.takeBack(); left != nil {
		err = errors.Join(err, &LeftError{left})
	}
	return r.report(), err
}

// LeftError says that applications which the drill brought are still there.
type LeftError struct{ Reason error }

func (e *LeftError) Error() string {
	return "drill: its own applications could not be stopped: " + e.Reason.Error()
}

// Unwrap is why.
func (e *LeftError) Unwrap() error { return e.Reason }

// see keeps the newest view for whoever waits for one.
func (r *run) see(v view) {
	select {
	case <-r.views:
	default:
	}
	r.views <- v
}

func (r *run) play(ctx context.Context) error {
	if err := r.steady(ctx); err != nil {
		return err
	}
	if err := r.audit(ctx, r.before); err != nil {
		return err
	}
	acts := r.Scenario.Schedule(r.Seed, len(r.Nodes))
	targets := r.keeper.targets.names()
	if err := r.Scenario.Load.fits(len(targets), r.Scenario.Duration+r.Scenario.Recovery); err != nil {
		return err
	}
	r.Note("%d targets are asked every %s; %d faults in %s, seed %d",
		len(targets), r.Scenario.Load.Every, len(acts), r.Scenario.Duration, r.Seed)
	r.began = time.Now()
	loading, stopLoad := context.WithCancel(ctx)
	var load sync.WaitGroup
	for i, target := range targets {
		load.Go(func() {
			// Spread, so that requests come evenly.
			wait(loading, r.Scenario.Load.Every*time.Duration(i)/time.Duration(len(targets)))
			r.Scenario.Load.ask(loading, r.keeper.targets, target, r.log)
		})
	}
	r.act(ctx, acts)
	wait(ctx, time.Until(r.began.Add(r.Scenario.Duration)))
	r.healAll()
	r.healed = time.Now()
	r.Note("everything is healed; the nodes have %s to come to rest", r.Scenario.Recovery)
	err := r.settle(ctx)
	if err == nil {
		err = context.Cause(ctx) // nil, where nobody ended it early
	}
	stopLoad()
	load.Wait()
	r.ended = time.Now()
	r.cutShort = err != nil
	return err
}

// wait returns when d is over, or ctx.
func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// steady returns when all that is to be asked runs and answers. A drill that
// begins otherwise would blame its faults for what was there before.
func (r *run) steady(ctx context.Context) error {
	limit := r.Scenario.Recovery
	if len(r.keeper.own) > 0 {
		limit = beginMax
		r.Note("starting %d instances", len(r.keeper.own))
	}
	why := "no node said what it runs"
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errors.New("time is over"))
	defer cancel()
	for {
		select {
		case v := <-r.views:
			if why = r.unsteady(v); why == "" {
				r.keeper.choose()
				r.log.add(func(l *Log) { l.Health, l.Beats, l.Changes, l.Begun = nil, nil, nil, nil })
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("drill: not begun, because before any fault %s (%w)", why, context.Cause(ctx))
		}
	}
}

func (r *run) unsteady(v view) string {
	switch {
	case v.failed != nil:
		return "the nodes can't be looked after: " + v.failed.Error()
	case len(v.missing) > 0:
		slices.Sort(v.missing)
		return "these don't run: " + shortList(v.missing)
	case v.running == 0:
		return "no instance runs that could be asked; start one, or put an application block into the scenario"
	}
	var silent []string
	for _, request := range r.probe() {
		if request.Error != "" {
			silent = append(silent, request.Target+" ("+request.Error+")")
		}
	}
	if len(silent) > 0 {
		slices.Sort(silent)
		return "these don't answer: " + shortList(silent)
	}
	return ""
}

// probe asks every target once. Its requests count as the load's do once that
// has begun: a drill may be over before the load asks again who just came back.
func (r *run) probe() []Request {
	client, targets := r.Scenario.Load.client(), r.keeper.targets.names()
	requests := make([]Request, len(targets))
	var asking sync.WaitGroup
	for i, t := range targets {
		asking.Go(func() {
			from := time.Now()
			err := r.Scenario.Load.once(client, r.keeper.targets.url(t))
			requests[i] = Request{Target: t, From: from, To: time.Now(), Error: err}
			if !r.began.IsZero() {
				r.log.request(requests[i])
			}
		})
	}
	asking.Wait()
	return requests
}

// listMax is how much of a list people are shown in a sentence.
const listMax = 5

func shortList(list []string) string {
	if len(list) <= listMax {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:listMax], ", "), len(list)-listMax)
}

// settle waits until all is well again, for as long as the scenario allows.
func (r *run) settle(ctx context.Context) error {
	deadline := time.Now().Add(r.Scenario.Recovery)
	for {
		select {
		case v := <-r.views:
			r.leftMsg = r.notWell(ctx, v)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(lookEvery):
			if r.leftMsg == nil {
				r.leftMsg = []string{"no node said what it runs"}
			}
		}
		if len(r.leftMsg) == 0 && len(r.after) == len(r.Nodes) {
			return nil
		}
		if time.Now().After(deadline) {
			return nil // what is left is a finding, not an error
		}
	}
}

// notWell is what isn't as it was, each with its reason.
func (r *run) notWell(ctx context.Context, v view) (left []string) {
	if why := r.unsteady(v); why != "" {
		left = append(left, why)
	}
	for _, node := range r.Nodes {
		lacks, heard := r.log.disagrees(node, r.healed, v.runs)
		switch {
		case !heard:
			left = append(left, "node "+node+" sent no heartbeat since all was healed")
		case len(lacks) > 0:
			left = append(left, fmt.Sprintf("node %s: the heartbeat lacks %d instances that run: %s",
				node, len(lacks), shortList(lacks)))
		}
	}
	clear(r.after)
	if err := r.audit(ctx, r.after); err != nil {
		return append(left, err.Error())
	}
	for _, node := range r.Nodes {
		left = append(left, compare(r.before[node], r.after[node])...)
	}
	return append([]string{}, left...)
}

// looseness is how many descriptors and goroutines more than before mean nothing.
const looseness = 64

// compare says what a node holds that it didn't, and what is odd about it.
func compare(before, after chaos.Audit) (wrong []string) {
	say := func(format string, args ...any) {
		wrong = append(wrong, "node "+after.Node+": "+fmt.Sprintf(format, args...))
	}
	for _, odd := range after.Odd {
		say("%s", odd)
	}
	for _, fault := range after.Faults {
		say("%s is not healed", fault)
	}
	if len(after.Containers) != len(before.Containers) {
		say("%d containers, and there were %d", len(after.Containers), len(before.Containers))
	}
	if after.Descriptors > before.Descriptors+looseness {
		say("%d descriptors are open, and there were %d", after.Descriptors, before.Descriptors)
	}
	if after.Goroutines > before.Goroutines+looseness {
		say("%d goroutines, and there were %d", after.Goroutines, before.Goroutines)
	}
	return wrong
}

func (r *run) audit(ctx context.Context, into map[string]chaos.Audit) error {
	for _, node := range r.Nodes {
		var a chaos.Audit
		if err := r.Fleet.ask(ctx, address{node, chaos.VerbAudit}, struct{}{}, &a); err != nil {
			return fmt.Errorf("node %s can't be audited: %w", node, err)
		}
		into[node] = a
	}
	return nil
}

// takeBack stops the drill's own applications, and goes on asking where a node
// can't be reached: it may be just what the drill did to it.
func (r *run) takeBack() error {
	if len(r.keeper.own) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.Scenario.Recovery+beginMax)
	defer cancel()
	for {
		over, err := r.keeper.stopOwn(ctx)
		if over {
			return nil
		}
		if wait(ctx, lookEvery); ctx.Err() != nil {
			return cmp.Or(err, errors.New("they are told to stop, and don't"))
		}
	}
}

// stopOwn has what still runs of its own stopped; over says that every node has
// told that nothing does.
func (k *keeper) stopOwn(ctx context.Context) (over bool, err error) {
	lists, err := k.fleet.instances(ctx)
	if err != nil {
		return false, err
	}
	live, silent := k.left(lists)
	for _, application := range live {
		err = errors.Join(err, k.stop(ctx, messaging.Filter{Application: application}))
	}
	if len(silent) > 0 {
		err = errors.Join(err, errors.New("no answer from "+shortList(silent)))
	}
	return len(live) == 0 && len(silent) == 0, err
}

// left is which of its own applications live, and which nodes said nothing.
func (k *keeper) left(lists []messaging.InstancesListed) (live, silent []string) {
	quiet, lives := maps.Clone(k.nodes), map[string]bool{}
	for _, list := range lists {
		delete(quiet, list.NodeID)
		for _, row := range list.Instances {
			if k.isOwn(row.Application) && row.State != messaging.Crashed && row.State != messaging.Stopped {
				lives[row.Application] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(lives)), slices.Sorted(maps.Keys(quiet))
}

func (k *keeper) isOwn(application string) bool {
	for _, own := range k.own {
		if own.start.Application == application {
			return true
		}
	}
	return false
}
