package box

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/record"
)

// recordOf is what a successor would read.
func (b *Box) recordOf(t *testing.T, id string) isolation.Spec {
	t.Helper()
	spec, err := b.folder(id).spec()
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// killedAfter changes a container's record as an agent does that is killed before
// it comes to the kernel.
func (b *Box) killedAfter(t *testing.T, id string, change func(*isolation.Spec)) {
	t.Helper()
	spec := b.recordOf(t, id)
	change(&spec)
	spec.Pending = true
	if err := record.Replace(string(b.folder(id)), specRecord, spec); err != nil {
		t.Fatal(err)
	}
}

func TestASuccessorAppliesTheLimitsThatAreOnRecordOnly(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	changed, untouched := unlimited(m), unlimited(m)
	untouched.Slot = 1
	for _, spec := range []isolation.Spec{changed, untouched} {
		if _, err := b.Create(t.Context(), spec, nil); err != nil {
			t.Fatal(err)
		}
	}
	rate := isolation.Bandwidth{Rate: 4_000_000, Burst: 100_000}
	want := isolation.Limits{MemoryBytes: 32 << 20, CPUShares: 77, DiskBytes: 8 << 20, Bandwidth: rate}
	b.killedAfter(t, changed.ID, func(s *isolation.Spec) { s.Limits = want })
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	b, _ = m.open()
	defer m.end(b)
	if got, err := b.Limit(t.Context(), changed.ID, isolation.LimitChange{}); err != nil || got != want {
		t.Errorf("a successor has limits %+v, %v; want %+v", got, err, want)
	}
	if in, out, set, err := b.Shaped(t.Context(), changed.ID); err != nil || !set || in != rate || out != rate {
		t.Errorf("its traffic is limited to %+v and %+v, %v, %v; want %+v", in, out, set, err, rate)
	}
	if b.recordOf(t, changed.ID).Pending {
		t.Error("it is pending still")
	}
	got, err := b.Limit(t.Context(), untouched.ID, isolation.LimitChange{})
	if err != nil || got != (isolation.Limits{CPUShares: 1024}) {
		t.Errorf("the other has %+v, %v", got, err)
	}
}

// More memory is in use than the limit on record allows: that is no reason not to
// start, is said, and is done by the first agent that can.
func TestALimitThatCantBeAppliedStaysPending(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	spec := unlimited(m)
	job := shell(1, "x=$(head -c 10000000 /dev/zero | tr '\\0' x); echo full; sleep 300")
	if _, err := b.Create(t.Context(), spec, job); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); b.text(spec.ID, 1, stdoutFile) == ""; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the job takes no memory:", b.text(spec.ID, 1, stderrFile))
		}
	}
	b.killedAfter(t, spec.ID, func(s *isolation.Spec) { s.Limits.MemoryBytes = 4 << 20 })
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	b, found := m.open()
	if len(found) != 1 || !b.recordOf(t, spec.ID).Pending {
		t.Errorf("found %+v, and nothing is pending", found)
	}
	if !slices.ContainsFunc(b.Notes, func(n string) bool { return strings.Contains(n, "limits of "+spec.ID+" are on record only") }) {
		t.Errorf("nobody says so: %q", b.Notes)
	}
	if status, err := b.Adopt(t.Context(), spec.ID); err != nil || len(status.Jobs) != 1 || status.Jobs[0].Exit != nil {
		t.Errorf("adopted %+v, %v", status, err)
	}
	if err := errors.Join(b.Stop(t.Context(), spec.ID, 0), b.Close()); err != nil {
		t.Fatal(err)
	}

	b, _ = m.open()
	defer m.end(b)
	if got, err := b.Limit(t.Context(), spec.ID, isolation.LimitChange{}); err != nil || got.MemoryBytes != 4<<20 {
		t.Errorf("once there is room the limits are %+v, %v", got, err)
	}
	if b.recordOf(t, spec.ID).Pending {
		t.Error("it is pending still")
	}
}

// What is done is not pending, and what was refused isn't either.
func TestNothingIsPendingThatWasAnswered(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	spec := unlimited(m)
	if _, err := b.Create(t.Context(), spec, nil); err != nil {
		t.Fatal(err)
	}
	for what, act := range map[string]func() error{
		"limit": func() error {
			_, err := b.Limit(t.Context(), spec.ID, isolation.LimitChange{MemoryBytes: ptr[int64](32 << 20)})
			return err
		},
		"shape": func() error { return b.Shape(t.Context(), spec.ID, isolation.Bandwidth{Rate: 1_000_000, Burst: 5000}) },
	} {
		if err := act(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if b.recordOf(t, spec.ID).Pending || b.held(spec.ID).spec.Pending {
			t.Errorf("after %s it is pending", what)
		}
	}
}
