package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/dea"
)

// offerMax is how long to wait for offers. A node offers its room every five
// seconds, and a controller forgets an offer after ten.
const offerMax = 10 * time.Second

// fetchMax is what a start may take beyond --timeout, which is the
// application's: the node has to fetch the droplet and make the container.
const fetchMax = 60 * time.Second

// launch is one application on its way from the command line to a node.
type launch struct {
	*session
	link    *link
	options runOptions
	bits    *bits

	application string
	events      <-chan messaging.Event
	ended       map[int]messaging.InstanceChanged // instances that came to an end, by index
	running     map[int]bool
}

func (l *launch) run(ctx context.Context) error {
	known, rows, err := l.link.nodesAndRows(ctx)
	if err != nil {
		return err
	}
	if err := l.nameIsFree(rows); err != nil {
		return err
	}
	l.application = newGUID()
	l.running, l.ended = map[int]bool{}, map[int]messaging.InstanceChanged{}
	subjects := append(logSubjects([]string{l.application}, -1), dea.SubjectInstance, dea.SubjectExited)
	if l.events, err = l.link.listen(ctx, subjects...); err != nil {
		return err
	}
	nodes, err := l.chooseNodes(ctx, known)
	if err != nil {
		return err
	}
	err = l.start(ctx, nodes)
	if err == nil {
		err = l.awaitRunning(ctx)
	}
	if err != nil {
		return errors.Join(err, l.takeBack())
	}
	l.bits.discard()
	if l.options.detach {
		return errors.Join(l.announce(ctx), l.failedStart())
	}
	return l.follow(ctx)
}

func (l *launch) nameIsFree(rows []row) error {
	for _, r := range rows {
		if r.title() == l.options.name && r.live() {
			return fail(exitFailed, "stop that one first (deacon stop "+l.options.name+"), or give this one another --name",
				"an application called %s runs already", l.options.name)
		}
	}
	return nil
}

// chooseNodes listens to the nodes' offers, until every node that is known has
// offered or no more are to be expected, and places the instances.
func (l *launch) chooseNodes(ctx context.Context, known []string) ([]string, error) {
	listening, cancel := context.WithTimeout(ctx, offerMax)
	defer cancel()
	heard, err := l.link.listen(listening, dea.SubjectAdvertise)
	if err != nil {
		return nil, err
	}
	offers := map[string]messaging.Advertised{}
	for !allOffered(known, offers) {
		select {
		case event := <-heard:
			if offer, ok := event.(messaging.Advertised); ok {
				offers[offer.NodeID] = offer
			}
		case <-listening.Done():
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if len(offers) == 0 {
				return nil, fail(exitUnreachable, "", "no node offered any room within %s", offerMax)
			}
			known = nil // a node that is full, or on its way out, offers nothing
		}
	}
	var all []messaging.Advertised
	for _, offer := range offers {
		all = append(all, offer)
	}
	return place(all, need{
		application: l.application, stack: l.options.stack,
		memoryMiB: int64(l.options.memory), diskMiB: int64(l.options.disk),
	}, l.options.instances)
}

func allOffered(known []string, offers map[string]messaging.Advertised) bool {
	for _, node := range known {
		if _, ok := offers[node]; !ok {
			return false
		}
	}
	return true
}

func (l *launch) start(ctx context.Context, nodes []string) error {
	version := newGUID()
	// A node passes over in silence what it can't read, and we would wait for it.
	if err := legible(l.message(version, 0), nodes[0]); err != nil {
		return err
	}
	for index, node := range nodes {
		start := l.message(version, index)
		l.note("starting %s/%d on node %s", l.options.name, index, node)
		if err := l.link.send(ctx, start, node); err != nil {
			return err
		}
	}
	return nil
}

// legible reads a start message as a node does.
func legible(start messaging.StartInstance, node string) error {
	subject, body, err := dea.EncodeCommand(start, node)
	if err != nil {
		return err
	}
	_, err = dea.Decode(subject, body)
	if invalid, ok := errors.AsType[*dea.InvalidError](err); ok {
		return fail(exitUsage, "see deacon run --help", "no node takes this: %s", invalid.Reason)
	}
	return err
}

// message is what a cloud controller sends for one instance.
func (l *launch) message(version string, index int) messaging.StartInstance {
	o := l.options
	routes := o.routes(l.bits.worker)
	limits := messaging.ApplicationLimits{MemoryMiB: int64(o.memory), DiskMiB: int64(o.disk), Files: o.files}
	described, _ := json.Marshal(map[string]any{ // strings and numbers only: can't fail
		"application_id": l.application, "application_name": o.name, "application_version": version,
		"name": o.name, "version": version, "uris": append([]string{}, routes...),
		"application_uris": append([]string{}, routes...),
		"limits":           map[string]any{"mem": limits.MemoryMiB, "disk": limits.DiskMiB, "fds": limits.Files},
	})
	return messaging.StartInstance{
		Partition: "default", Application: l.application, Name: o.name, Version: version, Index: index,
		URIs: routes, Droplet: l.bits.droplet, Limits: limits, Environment: o.variables(), Stack: o.stack,
		StartCommand: o.command, HealthCheckTimeout: o.timeout, VCAPApplication: described,
	}
}

// awaitRunning returns when every instance runs. Output of the first moments
// is shown on the way, because it tells why a start fails.
func (l *launch) awaitRunning(ctx context.Context) error {
	limit := l.options.timeout + fetchMax
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fail(exitTimeout,
		"see deacon ps and the node's log", "%s does not run after %s", l.options.name, limit))
	defer cancel()
	printer := l.printer()
	for len(l.running)+len(l.ended) < l.options.instances {
		select {
		case event := <-l.events:
			if err := l.take(event, printer); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return l.failedStart()
}

// take keeps account of the application's instances and shows its output.
func (l *launch) take(event messaging.Event, printer linePrinter) error {
	switch e := event.(type) {
	case messaging.LogLine:
		return printer.print(e)
	case messaging.InstanceChanged:
		if e.Application != l.application {
			return nil
		}
		switch e.To {
		case messaging.Running:
			l.running[e.Index] = true
		case messaging.Stopped, messaging.Crashed:
			delete(l.running, e.Index)
			l.ended[e.Index] = e
		}
	case messaging.InstanceExited:
		// The DEA's own word for it, where the node speaks no more than that.
		if _, known := l.ended[e.Index]; e.Application == l.application && !known && e.Reason == messaging.Crash {
			delete(l.running, e.Index)
			l.ended[e.Index] = messaging.InstanceChanged{To: messaging.Crashed, Index: e.Index,
				ExitStatus: e.ExitStatus, Description: e.Description}
		}
	default: // nothing else was subscribed to
	}
	return nil
}

// failedStart is an error where an instance ended before all of them ran,
// unless it is work that was done: a worker that ended with 0.
func (l *launch) failedStart() error {
	if len(l.ended) > 0 {
		l.drain(l.printer())
	}
	for _, end := range l.endings() {
		if !l.isDone(end) {
			code, remedy := l.whatHelps(end)
			return fail(code, remedy, "%s/%d did not start: %s", l.options.name, end.Index, l.describe(end))
		}
	}
	return nil
}

// neverAccepted is the DEA's description of an instance that did not listen
// within --timeout.
const neverAccepted = "failed to accept connections within health check timeout"

// whatHelps is the exit code for an instance that did not start, and what to
// do about it.
func (l *launch) whatHelps(end messaging.InstanceChanged) (code int, remedy string) {
	switch {
	case end.Description == neverAccepted:
		return exitTimeout, "it must listen on $PORT within --timeout; what listens on nothing is run with --no-route"
	case end.ExitStatus == 0 && end.Signal == "": // of a worker that is no failure
		return exitCrashed, "what does its work and ends, and listens on nothing, is run with --no-route"
	default:
		return exitCrashed, "see its last words above, and the node's log"
	}
}

// isDone tells an instance that did its work from one that failed. The DEA
// calls both a crash.
func (l *launch) isDone(end messaging.InstanceChanged) bool {
	return end.To == messaging.Stopped || end.ExitStatus == 0 && end.Signal == "" && l.isWorker()
}

func (l *launch) isWorker() bool { return len(l.options.routes(l.bits.worker)) == 0 }

func (l *launch) describe(end messaging.InstanceChanged) string {
	return ending(end.Description, end.ExitStatus, end.Signal)
}

func (l *launch) endings() []messaging.InstanceChanged {
	var ends []messaging.InstanceChanged
	for _, end := range l.ended {
		ends = append(ends, end)
	}
	slices.SortFunc(ends, func(a, b messaging.InstanceChanged) int { return a.Index - b.Index })
	return ends
}

// announce says where each instance answers. One that ended since it was told
// to run is accounted for.
func (l *launch) announce(ctx context.Context) error {
	rows, err := l.link.rows(ctx)
	if err != nil {
		return err
	}
	rows = slices.DeleteFunc(rows, func(r row) bool { return r.Application != l.application })
	for _, r := range rows {
		if !r.live() && l.running[r.Index] {
			delete(l.running, r.Index)
			l.ended[r.Index] = messaging.InstanceChanged{To: r.State, Index: r.Index,
				ExitStatus: r.ExitStatus, Description: r.Description}
		}
	}
	if l.json {
		return l.showRows(rows)
	}
	return l.showAnswers(rows)
}

func (l *launch) showAnswers(rows []row) error {
	for _, r := range rows {
		where := "runs"
		if url := r.answersAt(); url != "" {
			where = "answers at " + url
		}
		if !r.live() {
			continue // said by whoever looks at the endings
		}
		if _, err := fmt.Fprintf(l.out, "%s/%d %s\n", plain(r.title()), r.Index, where); err != nil {
			return err
		}
	}
	return nil
}

// follow shows the output until every instance has ended, or Ctrl-C, which
// stops them: what runs in the foreground ends with it.
func (l *launch) follow(ctx context.Context) error {
	if err := l.announce(ctx); err != nil && ctx.Err() == nil {
		return errors.Join(err, l.takeBack())
	}
	if len(l.ended) < l.options.instances {
		l.note("(Ctrl-C stops it; deacon run -d would leave it running)")
	}
	printer := l.printer()
	for len(l.ended) < l.options.instances {
		select {
		case event := <-l.events:
			if err := l.take(event, printer); err != nil {
				return errors.Join(err, l.takeBack())
			}
		case <-ctx.Done():
			l.note("\nstopping %s", l.options.name)
			if err := l.takeBack(); err != nil {
				return err
			}
			l.note("%s is stopped", l.options.name)
			return nil
		}
	}
	l.drain(printer)
	return l.outcome()
}

// lastWordsMax is how long output may come after the end was told: lines take
// another way through the node than states do.
const lastWordsMax = 300 * time.Millisecond

func (l *launch) drain(printer linePrinter) {
	quiet := time.NewTimer(lastWordsMax)
	defer quiet.Stop()
	for {
		select {
		case event := <-l.events:
			if err := l.take(event, printer); err != nil {
				return
			}
		case <-quiet.C:
			return
		}
	}
}

func (l *launch) outcome() error {
	for _, end := range l.endings() {
		if !l.isDone(end) && (end.ExitStatus != 0 || end.Signal != "") {
			return fail(exitCrashed, "", "%s/%d ended: %s", l.options.name, end.Index, l.describe(end))
		}
		l.note("%s/%d ended", l.options.name, end.Index)
	}
	return nil
}

// takeBack stops what was started. It is told to go on after Ctrl-C, so it
// has a context of its own.
func (l *launch) takeBack() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	rows, err := l.link.rows(ctx)
	if err != nil {
		return err
	}
	rows = slices.DeleteFunc(rows, func(r row) bool { return r.Application != l.application || !r.live() })
	if len(rows) == 0 {
		return nil
	}
	return l.link.stopAndWait(ctx, rows, stopTimeout)
}

// printer shows output. Of what is left running only the answers are the
// result; its first words are for the person who watches.
func (l *launch) printer() linePrinter {
	p := linePrinter{session: l.session, out: l.out, names: map[string]string{l.application: l.options.name}}
	switch {
	case l.options.detach && l.json:
		p.out = io.Discard
	case l.options.detach:
		p.out = l.errs
	}
	return p
}

// newGUID makes an id as a cloud controller does: a random UUID.
func newGUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	text := hex.EncodeToString(b[:])
	return strings.Join([]string{text[:8], text[8:12], text[12:16], text[16:20], text[20:]}, "-")
}
