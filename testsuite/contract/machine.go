package contract

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/isolation"
)

// Kernel is what of actors.Kernel and actors.Live the suite asks for.
type Kernel interface {
	actors.Kernel
	Spawn(ctx context.Context, id string, job isolation.Job) error
	Forget(ctx context.Context, id string, job uint32) error
	Note(ctx context.Context, id string, note json.RawMessage) error
	Limit(ctx context.Context, id string, change isolation.LimitChange) (isolation.Limits, error)
	Stats(ctx context.Context, id string) (isolation.Stats, error)
	Map(ctx context.Context, id string, port isolation.PortMap) error
	Allow(ctx context.Context, id string, rule isolation.EgressRule) error
	Restrict(ctx context.Context, id string, rules []isolation.EgressRule) error
	Shape(ctx context.Context, id string, limit isolation.Bandwidth) error
}

// Does is what a job does.
type Does string

// The jobs of the suite.
const (
	Sleeps   Does = "sleeps"   // until it is ended
	Stubborn Does = "stubborn" // and SIGTERM doesn't end it
	ExitsIn7 Does = "exits 7"  // at once, with 7
	Listens  Does = "listens"  // at Port
)

// Port is where a job listens that does.
const Port = 61080

// Machine is one to be held to the contract.
type Machine interface {
	// Kernel is the machine as the actors know it.
	Kernel() Kernel
	// Spec is a new container's, in a slot; Job a job's.
	Spec(slot uint32) isolation.Spec
	Job(number uint32, does Does) isolation.Job
	// KillInit kills a container's PID 1 and returns when the machine knows that it
	// is dead: until then it may be taken for one that lives.
	KillInit(status isolation.Status)
}

// world is a machine with a test's patience.
type world struct {
	t *testing.T
	Machine
	k Kernel
}

// patience is how long anything may take that is to happen.
const patience = 20 * time.Second

func (w *world) ctx() context.Context {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	w.t.Cleanup(cancel)
	return ctx
}

// make makes a container whose first job does something; empty: it has none.
func (w *world) make(slot uint32, does Does) isolation.Status {
	w.t.Helper()
	var job *isolation.Job
	if does != "" {
		first := w.Job(1, does)
		job = &first
	}
	status, err := w.k.Create(w.ctx(), w.Spec(slot), job)
	if err != nil {
		w.t.Fatal(err)
	}
	return status
}

// take takes a container down.
func (w *world) take(id string) {
	w.t.Helper()
	w.ok("destroy", w.k.Destroy(w.ctx(), id))
	w.ok("release", w.k.Release(w.ctx(), []string{id}))
}

func (w *world) ok(what string, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Errorf("%s: %v", what, err)
	}
}

func (w *world) refused(what string, err error) {
	w.t.Helper()
	if err == nil {
		w.t.Errorf("%s is not refused", what)
	}
}

func (w *world) is(what string, err, want error) {
	w.t.Helper()
	if !errors.Is(err, want) {
		w.t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

// ids are those that the machine lists.
func (w *world) ids() []string {
	w.t.Helper()
	specs, err := w.k.Containers(w.ctx())
	w.ok("list", err)
	ids := []string{}
	for _, s := range specs {
		ids = append(ids, s.ID)
	}
	return ids
}

// listed is a container's spec as the machine lists it.
func (w *world) listed(id string) isolation.Spec {
	w.t.Helper()
	specs, err := w.k.Containers(w.ctx())
	w.ok("list", err)
	for _, s := range specs {
		if s.ID == id {
			return s
		}
	}
	w.t.Fatalf("%s is not listed", id)
	return isolation.Spec{}
}

// job is what Adopt says of one job.
func (w *world) job(id string, number uint32) (isolation.JobStatus, bool) {
	w.t.Helper()
	status, err := w.k.Adopt(w.ctx(), id)
	w.ok("adopt", err)
	for _, j := range status.Jobs {
		if j.Number == number {
			return j, true
		}
	}
	return isolation.JobStatus{}, false
}

func (w *world) wait(id string, job uint32) isolation.Exit {
	w.t.Helper()
	exit, err := w.k.Wait(w.ctx(), id, job)
	w.ok("wait", err)
	return exit
}
