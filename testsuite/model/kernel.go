package model

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/deacon-agent/deacon/isolation"
)

// How long the model's calls take: enough for others to get in between.
const (
	createTakes  = 3 * time.Millisecond
	destroyTakes = time.Millisecond
	releaseTakes = 15 * time.Millisecond
)

// Kernel is a machine in memory. It is safe for concurrent use.
type Kernel struct {
	// Fault, where set, may refuse any call; it is told the call's name and the
	// container's id.
	Fault func(call, id string) error
	// Trouble, where set, is asked what goes wrong with a call.
	Trouble func(call, id string) Trouble
	// Patience is how calls wait; nil: by package time.
	Patience Patience
	// Memory, where set, is all that there is for those that live. Strict takes
	// a port that is asked for twice for a broken promise.
	Memory int64
	Strict bool
	// Destroyed and Released, where set, are told of every container before that
	// is done to it. They may not call the kernel.
	Destroyed, Released func(Resident)

	mu         sync.Mutex
	containers map[string]*container
	turns      map[string]chan struct{} // of who is at work on a container; closed when it is over
	violations []string
	tenants    map[string]tenancy
	boots      int
	created    int
	harms      map[string]isolation.Finding // by Harm, until the next audit
}

// tenancy is the container that was made first for a tenant in one boot of the
// machine: it may have no other in that.
type tenancy struct {
	container string
	boot      int
}

type container struct {
	spec     isolation.Spec
	alive    bool   // PID 1 lives
	refusing bool   // destroyed: its ports refuse
	open     bool   // its application listens
	job      uint32 // 0: it was made without one
	begun    bool   // the job was started: another may have come first
	jobs     map[uint32]*further
	used     map[uint32]bool // numbers of jobs, for ever
	// forgotten are jobs of which only the machine's makers know still.
	forgotten map[uint32]*further
	exit      *isolation.Exit
	ended     chan struct{} // closed when the job has ended
	dead      chan struct{} // closed when PID 1 has
	kills     uint64
	oom       chan struct{} // closed at the first kill
	act       Behaviour
	output    transcript
}

// NewKernel makes a machine without containers.
func NewKernel() *Kernel {
	return &Kernel{
		containers: map[string]*container{}, turns: map[string]chan struct{}{}, tenants: map[string]tenancy{},
	}
}

func (k *Kernel) fault(call, id string) error {
	if k.Fault == nil {
		return nil
	}
	return k.Fault(call, id)
}

// Create makes a container and starts its job.
func (k *Kernel) Create(ctx context.Context, spec isolation.Spec, job *isolation.Job) (isolation.Status, error) {
	if err := k.fault("create", spec.ID); err != nil {
		return isolation.Status{}, err
	}
	over, err := k.take(ctx, spec.ID)
	if err != nil {
		return isolation.Status{}, err
	}
	defer over()
	then, err := k.meet(ctx, "create", spec.ID)
	if err != nil {
		return isolation.Status{}, err
	}
	if ctx.Err() != nil {
		return isolation.Status{}, context.Cause(ctx)
	}
	k.giveWay(spec.ID)
	c, err := k.intend(spec, job)
	if err != nil {
		return isolation.Status{}, err
	}
	err = patient(k.Patience).Wait(ctx, createTakes)
	if err = then(err); err != nil {
		k.undo(c)
		return isolation.Status{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.created++
	c.alive = true
	k.weigh(c)
	if c.begun {
		k.run(c)
	}
	return k.status(c), nil
}

// Prepare has nothing to prepare.
func (k *Kernel) Prepare(ctx context.Context, _ []uint32) (bool, error) {
	if err := k.fault("prepare", ""); err != nil {
		return false, err
	}
	_, err := k.meet(ctx, "prepare", "")
	return false, err
}

func (k *Kernel) intend(spec isolation.Spec, job *isolation.Job) (*container, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.containers[spec.ID]; ok {
		return nil, fmt.Errorf("container %s: %w", spec.ID, fs.ErrExist)
	}
	k.examine(spec)
	c := &container{
		spec: spec, jobs: map[uint32]*further{}, used: map[uint32]bool{}, forgotten: map[uint32]*further{},
		ended: make(chan struct{}), dead: make(chan struct{}), oom: make(chan struct{}),
	}
	if job != nil {
		c.job = applicationJob
		c.output.grew = make(chan struct{})
		if job.Number != c.job {
			k.startFurther(c, *job)
		} else {
			c.act, c.begun = behaviourOf(*job), true
			c.used[job.Number] = true
		}
	}
	k.containers[spec.ID] = c
	return c, nil
}

func (k *Kernel) undo(c *container) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.containers, c.spec.ID)
}

// run has the application do what it was made for.
func (k *Kernel) run(c *container) {
	if !c.act.Deaf && !c.bare() {
		opens := func(c *container) { c.open = c.exit == nil }
		patient(k.Patience).AfterFunc(c.act.Opens, func() { k.with(c.spec.ID, opens) })
	}
	if c.act.Ends > 0 {
		patient(k.Patience).AfterFunc(c.act.Ends, func() { k.Exit(c.spec.ID, c.act.Exit) })
	}
	if c.act.Says {
		k.speak(c)
	}
}

func (k *Kernel) with(id string, act func(*container)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c, ok := k.containers[id]; ok {
		act(c)
	}
}

func (k *Kernel) status(c *container) isolation.Status {
	peer := netip.AddrFrom4([4]byte{10, 254, byte(c.spec.Slot >> 6), byte(c.spec.Slot<<2) + 2})
	status := isolation.Status{Spec: c.spec, PeerIP: peer}
	if c.begun {
		status.Jobs = []isolation.JobStatus{{Number: c.job, PID: 2, Exit: c.exit}}
	}
	for _, number := range slices.Sorted(maps.Keys(c.jobs)) {
		status.Jobs = append(status.Jobs, isolation.JobStatus{Number: number, PID: 2, Exit: c.jobs[number].exit})
	}
	return status
}

func (k *Kernel) find(id string) (*container, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c, ok := k.containers[id]
	if !ok {
		return nil, fmt.Errorf("container %s: %w", id, isolation.ErrUnknown)
	}
	return c, nil
}

// Adopt takes hold of a container that lives.
func (k *Kernel) Adopt(ctx context.Context, id string) (isolation.Status, error) {
	if err := k.fault("adopt", id); err != nil {
		return isolation.Status{}, err
	}
	if _, err := k.meet(ctx, "adopt", id); err != nil {
		return isolation.Status{}, err
	}
	c, err := k.reach(ctx, id)
	if err != nil {
		return isolation.Status{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case c.alive:
		return k.status(c), nil
	case c.unbegun():
		return isolation.Status{}, fmt.Errorf("container %s: %w", id, isolation.ErrUnbegun)
	}
	return isolation.Status{}, fmt.Errorf("container %s: %w", id, isolation.ErrGone)
}

// Wait returns how the job ended.
func (k *Kernel) Wait(ctx context.Context, id string, job uint32) (isolation.Exit, error) {
	if err := k.fault("wait", id); err != nil {
		return isolation.Exit{}, err
	}
	if _, err := k.meet(ctx, "wait", id); err != nil {
		return isolation.Exit{}, err
	}
	c, err := k.find(id)
	if err != nil {
		return isolation.Exit{Job: job, Code: -1, Lost: true}, nil
	}
	if !k.began(c) || job != c.job {
		return k.waitFurther(ctx, c, job)
	}
	if err := patient(k.Patience).Wait(ctx, -1, c.ended, c.dead); err != nil {
		return isolation.Exit{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if c.exit == nil {
		return isolation.Exit{Job: 1, Code: -1, Lost: true}, nil
	}
	return *c.exit, nil
}

// WaitOOM returns when a process was killed for want of memory.
func (k *Kernel) WaitOOM(ctx context.Context, id string, _ uint64) (uint64, error) {
	c, err := k.find(id)
	if err != nil {
		return 0, err
	}
	if err := patient(k.Patience).Wait(ctx, -1, c.oom, c.dead); err != nil {
		return 0, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if c.kills > 0 {
		return c.kills, nil
	}
	return 0, isolation.ErrGone
}

// Stop ends every job: at once, or after grace where it ignores SIGTERM.
func (k *Kernel) Stop(ctx context.Context, id string, grace time.Duration) error {
	if err := k.fault("stop", id); err != nil {
		return err
	}
	then, err := k.meet(ctx, "stop", id)
	if err != nil {
		return err
	}
	c, unknown := k.reach(ctx, id)
	if unknown != nil {
		return nil
	}
	if c.act.Stubborn {
		if err := patient(k.Patience).Wait(ctx, grace, c.dead); err != nil {
			return err
		}
	}
	k.Exit(id, isolation.Exit{Job: 1, Code: -1, Signal: 15, Ordered: true})
	k.with(id, func(c *container) {
		for number := range c.jobs {
			c.end(number, isolation.Exit{Code: -1, Signal: 15, Ordered: true})
		}
	})
	return then(nil)
}

// Destroy kills every process and has the ports refuse.
func (k *Kernel) Destroy(ctx context.Context, id string) error {
	if err := k.fault("destroy", id); err != nil {
		return err
	}
	over, err := k.take(ctx, id)
	if err != nil {
		return err
	}
	defer over()
	then, err := k.meet(ctx, "destroy", id)
	if err != nil {
		return err
	}
	if err := patient(k.Patience).Wait(ctx, destroyTakes); err != nil {
		return err
	}
	k.with(id, func(c *container) {
		if k.Destroyed != nil && !c.refusing {
			k.Destroyed(c.resident())
		}
		c.die()
		c.refusing = true
	})
	return then(nil)
}

// Release takes back what Destroy left.
func (k *Kernel) Release(ctx context.Context, ids []string) error {
	for _, id := range ids {
		if err := k.fault("release", id); err != nil {
			return err
		}
	}
	over, err := k.takeAll(ctx, ids)
	if err != nil {
		return err
	}
	defer over()
	then, err := k.meet(ctx, "release", strings.Join(ids, " "))
	if err != nil {
		return err
	}
	if err := patient(k.Patience).Wait(ctx, releaseTakes); err != nil {
		return err
	}
	k.let(ids)
	return then(nil)
}

func (k *Kernel) let(ids []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, id := range ids {
		c, ok := k.containers[id]
		switch {
		case !ok:
			continue
		case c.alive:
			k.violate("container %s released alive", id)
		}
		if k.Released != nil {
			k.Released(c.resident())
		}
		delete(k.containers, id)
	}
}

// Usage is what a job uses: always the same.
func (k *Kernel) Usage(ctx context.Context, id string) (isolation.Usage, error) {
	if _, err := k.meet(ctx, "usage", id); err != nil {
		return isolation.Usage{}, err
	}
	if _, err := k.living(id); err != nil {
		return isolation.Usage{}, err
	}
	return isolation.Usage{MemoryBytes: 1 << 20, CPU: time.Second, DiskBytes: 4096, Pids: 1}, nil
}

// ErrRefused is what a probe of a closed port gets.
var ErrRefused = errors.New("connection refused")

// Probe finds the container by its address.
func (k *Kernel) Probe(ctx context.Context, address netip.AddrPort) error {
	if _, err := k.meet(ctx, "probe", ""); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.containers {
		if k.status(c).PeerIP == address.Addr() && c.open && c.alive && !c.refusing {
			return nil
		}
	}
	return ErrRefused
}

// Read has every application write what it is asked for, once it listens.
func (k *Kernel) Read(ctx context.Context, id, _ string, _ int64) ([]byte, error) {
	if _, err := k.meet(ctx, "read", id); err != nil {
		return nil, err
	}
	c, err := k.living(id)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if !c.open {
		return []byte(`{"state":"STARTING"}`), nil
	}
	return []byte(`{"state":"RUNNING"}`), nil
}

// Containers lists all, by id.
func (k *Kernel) Containers(ctx context.Context) ([]isolation.Spec, error) {
	if err := k.fault("containers", ""); err != nil {
		return nil, err
	}
	if _, err := k.meet(ctx, "containers", ""); err != nil {
		return nil, err
	}
	return k.Residents(), nil
}

// Exit ends a container's job as its application would.
func (k *Kernel) Exit(id string, exit isolation.Exit) {
	k.with(id, func(c *container) {
		if c.exit != nil || !c.alive || !c.begun {
			return
		}
		exit.Job, exit.OOMKills = c.job, c.kills
		if c.act.Says && exit.Signal == 0 {
			c.output.write() // its last words
		}
		c.exit, c.open = &exit, false
		close(c.ended)
	})
}

// OOMKill has the kernel kill one of the container's processes; main says
// whether it was the job's own.
func (k *Kernel) OOMKill(id string, main bool) {
	k.with(id, func(c *container) {
		if c.kills++; c.kills == 1 {
			close(c.oom)
		}
	})
	if main {
		k.Exit(id, isolation.Exit{Code: -1, Signal: 9})
	}
}

// KillInit kills PID 1, and with it everything inside.
func (k *Kernel) KillInit(id string) {
	k.with(id, func(c *container) {
		if c.alive {
			c.die()
		}
	})
}

// Created is how many containers were ever made.
func (k *Kernel) Created() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.created
}

// Serving lists the containers whose job runs, by id.
func (k *Kernel) Serving() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var ids []string
	for id, c := range k.containers {
		if c.alive && (c.begun && c.exit == nil || c.running()) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}
