package sweep

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
)

// What can be said of a container or a job.
const (
	created    = "created"
	started    = "started"
	wrote      = "wrote"
	ended      = "ended"
	stopped    = "stopped"
	limited    = "limited"
	mapped     = "mapped"
	allowed    = "allowed"
	restricted = "restricted"
	shaped     = "shaped"
	noted      = "noted"
	forgotten  = "forgotten"
	copiedIn   = "copied in"
	copiedOut  = "copied out"
	destroyed  = "destroyed"
	released   = "released"
)

// fact is what an agent answered, or, Trying, what it was about to do: from then
// on both the former truth and the new one are true enough.
type fact struct {
	What   string
	Trying bool   `json:",omitempty"`
	ID     string // the container
	Job    uint32 `json:",omitempty"`
	Exit   *isolation.Exit
	Text   string `json:",omitempty"`
	Bytes  int64  `json:",omitempty"`
	Port   uint16 `json:",omitempty"`
}

// belief is all that facts say of one container.
type belief struct {
	id     string
	last   map[string]fact   // by what was said, the last that was answered
	tried  map[string][]fact // and what was tried since
	jobs   map[uint32]map[string]fact
	ports  []uint16
	rules  []string
	trials map[uint32][]string // of jobs
}

// beliefs sorts facts by container, in the order in which these were first named.
func beliefs(facts []fact) (all []*belief) {
	known := map[string]*belief{}
	for _, f := range facts {
		b := known[f.ID]
		if b == nil {
			b = &belief{id: f.ID, last: map[string]fact{}, tried: map[string][]fact{},
				jobs: map[uint32]map[string]fact{}, trials: map[uint32][]string{}}
			known[f.ID] = b
			all = append(all, b)
		}
		b.learn(f)
	}
	return all
}

func (b *belief) learn(f fact) {
	switch {
	case f.Job != 0 && f.Trying:
		b.trials[f.Job] = append(b.trials[f.Job], f.What)
	case f.Job != 0:
		if b.jobs[f.Job] == nil {
			b.jobs[f.Job] = map[string]fact{}
		}
		b.jobs[f.Job][f.What] = f
	case f.Trying:
		b.tried[f.What] = append(b.tried[f.What], f)
	default:
		b.last[f.What], b.tried[f.What] = f, nil
		switch f.What {
		case mapped:
			b.ports = append(b.ports, f.Port)
		case allowed:
			b.rules = append(b.rules, f.Text)
		case created:
			b.last[limited] = f
		}
	}
}

func (b *belief) has(what string) bool { _, ok := b.last[what]; return ok }

// judge is the truth oracle: it says what of the facts doesn't hold.
func (n *node) judge(ctx context.Context, facts []fact, dead bool) (wrong []string) {
	for _, b := range beliefs(facts) {
		for _, err := range n.judgeOne(ctx, b, dead) {
			if err != nil {
				wrong = append(wrong, fmt.Sprintf("%s: %v", b.id, err))
			}
		}
	}
	return wrong
}

func (n *node) judgeOne(ctx context.Context, b *belief, dead bool) (wrong []error) {
	status, err := n.adopt(ctx, b.id, dead)
	gone := errors.Is(err, isolation.ErrGone)
	switch {
	case b.has(released):
		if !errors.Is(err, isolation.ErrUnknown) {
			wrong = append(wrong, fmt.Errorf("it was released, and adopting it says: %w", err))
		}
		return append(wrong, n.refused(b))
	case b.has(destroyed):
		if !gone && !errors.Is(err, isolation.ErrUnknown) {
			wrong = append(wrong, fmt.Errorf("it was destroyed, and adopting it says: %w", err))
		}
		return append(wrong, n.refused(b))
	case len(b.tried[destroyed]) > 0 && (gone || errors.Is(err, isolation.ErrUnknown)):
		return nil
	case !b.has(created) && (gone || errors.Is(err, isolation.ErrUnknown)):
		return nil // half made: its owner takes it back
	case gone && dead:
		return append(wrong, n.judgeJobs(ctx, b, true)...)
	case err != nil:
		return append(wrong, fmt.Errorf("it can't be adopted: %w", err))
	}
	if !b.has(created) {
		return nil // nobody was told of it, and it is whole
	}
	wrong = append(wrong, n.judgeJobs(ctx, b, false)...)
	if !dead {
		wrong = append(wrong, n.judgeLimits(ctx, b), n.judgeTraffic(ctx, b, status), judgeSpec(b, status), judgeFiles(b, status))
	}
	return wrong
}

// noticed is how long an agent may take to hear of a death that it didn't cause.
const noticed = 250 * time.Millisecond

// adopt gives the agent a moment to hear that PID 1 is dead, if it is this one.
func (n *node) adopt(ctx context.Context, id string, dead bool) (isolation.Status, error) {
	for deadline := time.Now().Add(noticed); ; time.Sleep(time.Millisecond) {
		status, err := n.box.Adopt(ctx, id)
		if err != nil || !dead || time.Now().After(deadline) {
			return status, err
		}
	}
}

// refused says that the ports of what was destroyed are served.
func (n *node) refused(b *belief) error {
	for _, port := range b.ports {
		if conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second); err == nil {
			conn.Close()
			return fmt.Errorf("port %d of what was destroyed is served", port)
		}
	}
	return nil
}

func (n *node) judgeJobs(ctx context.Context, b *belief, dead bool) (wrong []error) {
	for _, number := range slices.Sorted(maps.Keys(b.jobs)) {
		if err := n.judgeJob(ctx, b, number, dead); err != nil {
			wrong = append(wrong, fmt.Errorf("job %d: %w", number, err))
		}
	}
	return wrong
}

func (n *node) judgeJob(ctx context.Context, b *belief, number uint32, dead bool) error {
	facts := b.jobs[number]
	if _, is := facts[forgotten]; is {
		if dead {
			return nil
		}
		if err := n.box.Spawn(ctx, b.id, *shell(number, "true")); !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("it was forgotten, and its number is used again: %v", err)
		}
		return nil
	}
	if slices.Contains(b.trials[number], forgotten) {
		return nil
	}
	if said, is := facts[ended]; is {
		return n.judgeEnd(ctx, b.id, number, said)
	}
	if said, is := facts[wrote]; is && n.text(b.id, number) != said.Text {
		return fmt.Errorf("it wrote %q, and %q is there", said.Text, n.text(b.id, number))
	}
	if dead { // whatever is said, it must be said
		_, err := n.box.Wait(ctx, b.id, number)
		return err
	}
	return n.judgeRunning(ctx, b, number)
}

func (n *node) judgeEnd(ctx context.Context, id string, number uint32, said fact) error {
	exit, err := n.box.Wait(ctx, id, number)
	exit.At, said.Exit.At = time.Time{}, time.Time{}
	if err != nil || exit != *said.Exit {
		return fmt.Errorf("it ended with %+v, and now with %+v, %v", *said.Exit, exit, err)
	}
	if text := n.text(id, number); text != said.Text {
		return fmt.Errorf("it wrote %q, and %q is there", said.Text, text)
	}
	return nil
}

// judgeRunning is for a job of which only the start was told: it runs, or it
// ended by itself, and then that can be told.
func (n *node) judgeRunning(ctx context.Context, b *belief, number uint32) error {
	soon, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	exit, err := n.box.Wait(soon, b.id, number)
	stopping := b.has(stopped) || len(b.tried[stopped]) > 0
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		if b.has(stopped) {
			return errors.New("it was stopped, and it runs")
		}
		return nil
	case err != nil:
		return err
	case exit.Lost:
		return errors.New("its exit was lost though its init lives")
	case exit.Signal == int(unix.SIGTERM) && !stopping:
		return fmt.Errorf("it was ended though nobody asked for that: %+v", exit)
	case stopping && !exit.Ordered:
		return fmt.Errorf("it was stopped, and is said to have ended by itself: %+v", exit)
	}
	return nil
}

func (n *node) judgeLimits(ctx context.Context, b *belief) error {
	limits, err := n.box.Limit(ctx, b.id, isolation.LimitChange{})
	if err != nil {
		return err
	}
	fine := []int64{b.last[limited].Bytes}
	for _, f := range b.tried[limited] {
		fine = append(fine, f.Bytes)
	}
	if !slices.Contains(fine, limits.MemoryBytes) {
		return fmt.Errorf("its memory is limited to %d, not to one of %d", limits.MemoryBytes, fine)
	}
	return nil
}

func (n *node) judgeTraffic(ctx context.Context, b *belief, status isolation.Status) error {
	for _, port := range b.ports {
		if !slices.ContainsFunc(status.Spec.Network.Ports, func(p isolation.PortMap) bool { return p.Host == port }) {
			return fmt.Errorf("port %d was mapped, and is not on record", port)
		}
		// Only a server can show that it leads somewhere.
		if facts := b.jobs[1]; facts[wrote].Text == serving {
			if err := greeted(ctx, port); err != nil {
				return fmt.Errorf("port %d was mapped, and nobody answers: %w", port, err)
			}
		}
	}
	if said, is := b.last[shaped]; is {
		_, out, set, err := n.box.Shaped(ctx, b.id)
		if err != nil || !set || out.Rate != uint64(said.Bytes) {
			return fmt.Errorf("its traffic was limited to %d, and is to %+v (%v), %v", said.Bytes, out, set, err)
		}
	}
	return nil
}

func judgeSpec(b *belief, status isolation.Status) error {
	for _, address := range b.rules {
		has := slices.ContainsFunc(status.Spec.Network.Egress, func(r isolation.EgressRule) bool {
			return r.First.String() == address
		})
		if !has {
			return fmt.Errorf("egress to %s was allowed, and is not on record", address)
		}
	}
	if fine, is := b.fine(noted); is && !slices.Contains(fine, string(status.Spec.Note)) {
		return fmt.Errorf("its note is %q, not one of %q", status.Spec.Note, fine)
	}
	var rules []string
	for _, r := range status.Spec.Network.Egress {
		rules = append(rules, r.First.String())
	}
	if fine, is := b.fine(restricted); is && !slices.Contains(fine, strings.Join(rules, " ")) {
		return fmt.Errorf("its egress rules are %q, not one of %q", rules, fine)
	}
	return nil
}

// fine are the texts that are true enough: the last that was answered, and what was
// tried since. Before the first answer everything is.
func (b *belief) fine(what string) (texts []string, is bool) {
	said, is := b.last[what]
	texts = []string{said.Text}
	for _, f := range b.tried[what] {
		texts = append(texts, f.Text)
	}
	return texts, is
}

func judgeFiles(b *belief, status isolation.Status) error {
	for _, copy := range []struct{ what, root string }{
		{copiedIn, fmt.Sprintf("/proc/%d/root", status.InitPID)}, {copiedOut, ""},
	} {
		said, is := b.last[copy.what]
		if !is {
			continue
		}
		if err := cargoIn(copy.root + said.Text); err != nil {
			return fmt.Errorf("files were %s: %w", copy.what, err)
		}
	}
	return nil
}
