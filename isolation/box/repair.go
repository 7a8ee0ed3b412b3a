package box

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/cgroup"
	"github.com/deacon-agent/deacon/isolation/network"
	"github.com/deacon-agent/deacon/isolation/record"
)

// readEvery is how many audits it takes until the limits and records of all
// containers were read. What is there and what is not each audit sees.
const readEvery = 4

// What an audit can do.
const (
	mended = "it was given that again"
	ended  = "that can't be given back to a container that lives: it was ended"
)

// Audit compares what living containers are made of with what they were made
// of, gives back what somebody took or changed, and ends a container that can't
// be kept without what it lost. What it finds it says, also where it could not
// help. It disturbs nobody. That something is there is seen by each audit; what
// has to be read, which costs most, is read of some containers in each.
func (b *Box) Audit(ctx context.Context) ([]isolation.Finding, error) {
	held := b.everyHeld()
	found, missing, failed := b.auditNetwork(held)
	turn := b.audits.Add(1)
	for i, c := range held {
		if ctx.Err() != nil {
			return found, context.Cause(ctx)
		}
		whole := b.stands(c) && ((uint32(i)+turn)%readEvery != 0 || b.harmOf(c).none())
		if len(missing[slotOf(c.spec)]) == 0 && whole {
			continue
		}
		finding, err := b.mend(ctx, c.spec.ID)
		failed = errors.Join(failed, err)
		if finding.What != "" {
			found = append(found, finding)
		}
	}
	if failed != nil {
		return found, fmt.Errorf("box: audit: %w", failed)
	}
	return found, nil
}

// everyHeld are the containers that live, by id.
func (b *Box) everyHeld() []*container {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []*container
	for _, id := range slices.Sorted(maps.Keys(b.live)) {
		if c := b.live[id]; !c.init.Lost() {
			all = append(all, c)
		}
	}
	return all
}

func (b *Box) attachments(held []*container) (all []network.Attachment) {
	for _, c := range held {
		all = append(all, b.attachment(c.spec))
	}
	return all
}

// auditNetwork brings the table back where it is not as it was written, and says
// what single containers lack.
func (b *Box) auditNetwork(held []*container) (found []isolation.Finding, lacks network.Harm, err error) {
	all := b.attachments(held)
	lacks, err = b.network.TableHarm(all)
	if errors.Is(err, network.ErrTable) {
		finding := isolation.Finding{What: err.Error(), Remedy: "it was written anew, for all containers that live"}
		if err = b.network.Rewrite(b.tenants); err != nil {
			finding.Remedy = fmt.Sprintf("it could not be written anew, and will be tried again: %v", err)
		}
		found, err = append(found, finding), nil
	}
	links, failed := b.network.LinkHarm(all)
	if lacks == nil {
		lacks = network.Harm{}
	}
	for s, what := range links {
		lacks[s] = append(lacks[s], what...)
	}
	return found, lacks, errors.Join(err, failed)
}

// tenants are who belongs in the table: who lives, and who is just being made.
func (b *Box) tenants() ([]network.Attachment, error) {
	specs, _, err := b.specs()
	if err != nil {
		return nil, err
	}
	var all []network.Attachment
	for _, spec := range specs {
		if c := b.held(spec.ID); c != nil {
			all = append(all, b.attachment(c.spec))
		} else if b.turns.busy(spec.ID) {
			all = append(all, b.attachment(spec))
		}
	}
	return b.network.Settle(all)
}

// busy says whether somebody has the container's turn.
func (t *turns) busy(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, taken := t.taken[id]
	return taken
}

// harm is what a container lacks beside what it has in the network.
type harm struct {
	fatal  []string              // it can't be kept without
	record string                // its record has to be written again; empty: it is whole
	limits isolation.LimitChange // memory and cpu have to be set again
	all    bool                  // the others too
	words  []string              // of the limits
}

func (h harm) none() bool { return len(h.fatal)+len(h.words) == 0 && h.record == "" }

func (h harm) what(more []string) string {
	words := slices.Concat(h.fatal, h.words, more)
	if h.record != "" {
		words = append(words, h.record)
	}
	return strings.Join(words, "; ")
}

// stands says whether the files and groups of a container are there, whatever is
// in them.
func (b *Box) stands(c *container) bool {
	f := b.folder(c.spec.ID)
	for _, path := range []string{filepath.Join(string(f), specRecord), f.socket()} {
		var stat unix.Stat_t
		if errors.Is(unix.Lstat(path, &stat), fs.ErrNotExist) {
			return false
		}
	}
	return c.group.Stands()
}

// harmOf looks into the files and groups of one container.
func (b *Box) harmOf(c *container) (h harm) {
	f := b.folder(c.spec.ID)
	switch err := record.Check(string(f), specRecord); {
	case errors.Is(err, fs.ErrNotExist):
		h.record = fmt.Sprintf("its record %s/%s is gone", f, specRecord)
	case errors.Is(err, record.ErrCorrupt):
		h.record = fmt.Sprintf("its record %s/%s is damaged", f, specRecord)
	}
	if _, err := os.Lstat(f.socket()); errors.Is(err, fs.ErrNotExist) {
		h.fatal = append(h.fatal, fmt.Sprintf("its socket %s is gone, without which no other agent could take hold of it",
			f.socket()))
	}
	has, err := c.group.Limits(c.spec.Limits)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENODEV):
		h.fatal = append(h.fatal, fmt.Sprintf("its cgroups %s are gone, without which it has no limits",
			b.config.Plan.Cgroup(slotOf(c.spec))))
	case err == nil && !c.spec.Pending:
		h.compare(has, c.spec.Limits)
	}
	return h
}

// compare finds limits that are not those on record. Memory is whole pages.
func (h *harm) compare(has, want isolation.Limits) {
	differ := func(name string, is, was int64) {
		h.words = append(h.words, fmt.Sprintf("its limit on %s is %s and was %s", name, limitText(is), limitText(was)))
	}
	page := int64(os.Getpagesize())
	if want.MemoryBytes/page != has.MemoryBytes/page {
		h.limits.MemoryBytes = &want.MemoryBytes
		differ("memory", has.MemoryBytes, want.MemoryBytes)
	}
	if shares := cgroup.Shares(want.CPUShares); want.CPUShares > 0 && shares != has.CPUShares {
		h.limits.CPUShares = &want.CPUShares
		differ("cpu shares", int64(has.CPUShares), int64(shares))
	}
	if want.Pids > 0 && want.Pids != has.Pids {
		h.all = true
		differ("processes", has.Pids, want.Pids)
	}
	if want.CPUMillis > 0 && want.CPUMillis != has.CPUMillis {
		h.all = true
		differ("cpu time", has.CPUMillis, want.CPUMillis)
	}
}

func limitText(n int64) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprint(n)
}

// mend looks again once nobody else has the container: what is being changed is
// not harm. No finding: there was none.
func (b *Box) mend(ctx context.Context, id string) (isolation.Finding, error) {
	over, err := b.turns.take(ctx, id)
	if err != nil {
		return isolation.Finding{}, err
	}
	defer over()
	c := b.held(id)
	if c == nil {
		return isolation.Finding{}, nil // it ended by itself, or is being taken down
	}
	// Or by the last audit's hand, and its connection's end was not heard yet.
	if dead, err := waitDeath(int(c.init.PIDFD().Fd()), 0); err != nil || dead {
		return isolation.Finding{}, err
	}
	a := b.attachment(c.spec)
	lacks, err := b.network.Lacking([]network.Attachment{a})
	if err != nil {
		return isolation.Finding{}, err
	}
	links, err := b.network.LinkHarm([]network.Attachment{a})
	if err != nil {
		return isolation.Finding{}, err
	}
	wires := slices.Concat(lacks[a.Slot], links[a.Slot])
	h := b.harmOf(c)
	if h.none() && len(wires) == 0 {
		return isolation.Finding{}, nil
	}
	finding := isolation.Finding{Container: id, What: h.what(wires), Remedy: mended}
	if err := b.heal(c, h, len(wires) > 0); err != nil {
		finding.Remedy = fmt.Sprintf("it could not be given that again, and will be tried again: %v", err)
	}
	if len(h.fatal) > 0 {
		finding.Lost, finding.Remedy = true, ended
		if err := killAndWait(int(c.init.PIDFD().Fd())); err != nil {
			finding.Remedy = fmt.Sprintf("that can't be given back while it lives, and it could not be ended: %v", err)
		}
	}
	return finding, nil
}

// heal gives back what can be. The record comes first: by it everything else of
// the container is found, also to be taken away.
func (b *Box) heal(c *container, h harm, wires bool) error {
	var failed error
	if h.record != "" {
		failed = b.recordAgain(c.spec)
	}
	if len(h.fatal) > 0 {
		return failed
	}
	if h.limits != (isolation.LimitChange{}) {
		failed = errors.Join(failed, c.group.Limit(h.limits))
	}
	if h.all {
		plan := b.config.Plan
		_, err := b.cgroups.Create(plan.Cgroup(slotOf(c.spec)), c.spec.Limits, plan.UID(c.spec.Slot))
		failed = errors.Join(failed, err)
	}
	if wires {
		failed = errors.Join(failed, b.rewire(c))
	}
	return failed
}

// recordAgain writes the record of a container that is known by heart.
func (b *Box) recordAgain(spec isolation.Spec) error {
	f := b.folder(spec.ID)
	if err := os.Mkdir(string(f), searchable); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return record.Save(string(f), specRecord, spec)
}

// rewire gives a container its link and its place in the table again.
func (b *Box) rewire(c *container) error {
	inside, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", c.init.PID()))
	if err != nil {
		return err
	}
	defer inside.Close()
	// The pid was PID 1's own if that lives now.
	if dead, err := waitDeath(int(c.init.PIDFD().Fd()), 0); err != nil || dead {
		return errors.Join(isolation.ErrGone, err)
	}
	return b.network.Mend(b.attachment(c.spec), inside, c.init.PIDFD())
}
