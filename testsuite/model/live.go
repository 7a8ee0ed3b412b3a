package model

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
)

// further is one of the jobs of a container that was made without one.
type further struct {
	argv    []string
	discard bool // what it writes is nobody's
	exit    *isolation.Exit
	ended   chan struct{}
}

// applicationJob is the number of an application's own job; one of another number
// that a container is made with comes before it.
const applicationJob = 1

// bare says that the container was made without a job.
func (c *container) bare() bool { return c.job == 0 }

func (k *Kernel) began(c *container) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return c.begun
}

func (c *container) running() bool {
	for _, j := range c.jobs {
		if j.exit == nil {
			return true
		}
	}
	return false
}

// end ends one of the container's jobs.
func (c *container) end(number uint32, exit isolation.Exit) {
	if j := c.jobs[number]; j != nil && j.exit == nil && c.alive {
		exit.Job, exit.OOMKills = number, c.kills
		j.exit = &exit
		close(j.ended)
	}
}

func (k *Kernel) job(id string, number uint32) *further {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c, ok := k.containers[id]; ok {
		return c.jobs[number]
	}
	return nil
}

// waitFurther is Wait for such a job.
func (k *Kernel) waitFurther(ctx context.Context, c *container, number uint32) (isolation.Exit, error) {
	lost := isolation.Exit{Job: number, Code: -1, Lost: true}
	j := k.job(c.spec.ID, number)
	if j == nil {
		return lost, nil
	}
	if err := patient(k.Patience).Wait(ctx, -1, j.ended, c.dead); err != nil {
		return isolation.Exit{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if j.exit == nil {
		return lost, nil
	}
	return *j.exit, nil
}

var _ actors.Live = (*Kernel)(nil)

// Spawn starts a job: its words say what it does (Behaviour).
func (k *Kernel) Spawn(ctx context.Context, id string, job isolation.Job) error {
	if err := k.fault("spawn", id); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	then, err := k.meet(ctx, "spawn", id)
	if err != nil {
		return err
	}
	c, err := k.reach(ctx, id)
	if err == nil {
		err = k.start(c, job)
	}
	return then(err)
}

func (k *Kernel) start(c *container, job isolation.Job) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if j := cmp.Or(c.jobs[job.Number], c.forgotten[job.Number]); j != nil && !slices.Equal(j.argv, job.Argv) && k.Strict {
		k.violate("the number of job %d of %s is given to another: %q after %q", job.Number, c.spec.ID, job.Argv, j.argv)
	}
	if c.used[job.Number] || !c.alive {
		return fmt.Errorf("job %d can't be started", job.Number)
	}
	if job.Number == c.job {
		c.used[job.Number] = true
		c.act, c.begun = behaviourOf(job), true
		k.run(c)
		return nil
	}
	k.startFurther(c, job)
	return nil
}

func (k *Kernel) startFurther(c *container, job isolation.Job) {
	c.used[job.Number] = true
	c.jobs[job.Number] = &further{argv: job.Argv, discard: job.Discard, ended: make(chan struct{})}
	if act := behaviourOf(job); act.Ends > 0 {
		patient(k.Patience).AfterFunc(act.Ends, func() {
			k.with(c.spec.ID, func(c *container) { c.end(job.Number, act.Exit) })
		})
	}
}

// Forget drops an ended job. Its number stays used.
func (k *Kernel) Forget(ctx context.Context, id string, job uint32) error {
	if err := k.fault("forget", id); err != nil {
		return err
	}
	then, err := k.meet(ctx, "forget", id)
	if err != nil {
		return err
	}
	k.with(id, func(c *container) {
		if j := c.jobs[job]; j != nil && j.exit == nil && c.alive {
			err = fmt.Errorf("job %d of %s runs", job, id)
			return
		}
		if j, known := c.jobs[job]; known {
			c.forgotten[job] = j
		}
		delete(c.jobs, job)
	})
	return then(err)
}

// amend changes what is kept of a container, amendLiving of one whose PID 1 lives.
func (k *Kernel) amend(ctx context.Context, call, id string, act func(*isolation.Spec)) error {
	return k.change(ctx, call, id, func(c *container) error { act(&c.spec); return nil })
}

func (k *Kernel) amendLiving(ctx context.Context, call, id string, act func(*isolation.Spec) error) error {
	return k.change(ctx, call, id, func(c *container) error {
		if !c.alive {
			return fmt.Errorf("container %s: %w", id, isolation.ErrGone)
		}
		return act(&c.spec)
	})
}

// change leaves what was where act refuses, or the call fails after it was done.
func (k *Kernel) change(ctx context.Context, call, id string, act func(*container) error) error {
	if err := k.fault(call, id); err != nil {
		return err
	}
	over, err := k.take(ctx, id)
	if err != nil {
		return err
	}
	defer over()
	then, err := k.meet(ctx, call, id)
	if err != nil {
		return err
	}
	if _, err := k.find(id); err != nil {
		return err
	}
	var before isolation.Spec
	k.with(id, func(c *container) {
		before = c.spec
		err = act(c)
	})
	if err = then(err); err != nil {
		k.with(id, func(c *container) { c.spec = before })
	}
	return err
}

// Note keeps the owner's note.
func (k *Kernel) Note(ctx context.Context, id string, note json.RawMessage) error {
	return k.amend(ctx, "note", id, func(s *isolation.Spec) { s.Note = note })
}

// Limit keeps the limits.
func (k *Kernel) Limit(ctx context.Context, id string, change isolation.LimitChange) (
	limits isolation.Limits, err error,
) {
	err = k.amendLiving(ctx, "limit", id, func(s *isolation.Spec) error {
		if change.MemoryBytes != nil {
			s.Limits.MemoryBytes = *change.MemoryBytes
		}
		if change.CPUShares != nil {
			s.Limits.CPUShares = *change.CPUShares
		}
		if change.DiskBytes != nil {
			s.Limits.DiskBytes = *change.DiskBytes
		}
		if change.DiskInodes != nil {
			s.Limits.DiskInodes = *change.DiskInodes
		}
		limits = s.Limits
		return nil
	})
	return limits, err
}

// Stats knows the limits, and else always the same.
func (k *Kernel) Stats(ctx context.Context, id string) (isolation.Stats, error) {
	if err := k.fault("stats", id); err != nil {
		return isolation.Stats{}, err
	}
	if _, err := k.meet(ctx, "stats", id); err != nil {
		return isolation.Stats{}, err
	}
	c, err := k.living(id)
	if err != nil {
		return isolation.Stats{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return isolation.Stats{
		Memory: map[string]uint64{"rss": 1 << 20}, CPU: time.Second, Bandwidth: c.spec.Limits.Bandwidth,
	}, nil
}

// ErrPort is what a port gets that leads elsewhere already, ErrRate no rate.
var (
	ErrPort = errors.New("the port leads elsewhere")
	ErrRate = errors.New("no rate is no limit")
)

// Map keeps a port mapping, unless somebody has the port for something else.
func (k *Kernel) Map(ctx context.Context, id string, port isolation.PortMap) error {
	return k.amendLiving(ctx, "map", id, func(s *isolation.Spec) error {
		for _, c := range k.containers {
			at := slices.IndexFunc(c.spec.Network.Ports, func(p isolation.PortMap) bool { return p.Host == port.Host })
			switch {
			case at < 0:
			case c.spec.ID == id && c.spec.Network.Ports[at] == port:
				return nil
			default:
				if k.Strict {
					k.collide(c, id, port)
				}
				return ErrPort
			}
		}
		s.Network.Ports = slices.Concat(s.Network.Ports, []isolation.PortMap{port})
		return nil
	})
}

// Allow keeps a rule, in front of all others.
func (k *Kernel) Allow(ctx context.Context, id string, rule isolation.EgressRule) error {
	return k.amendLiving(ctx, "allow", id, func(s *isolation.Spec) error {
		others := slices.DeleteFunc(slices.Clone(s.Network.Egress),
			func(r isolation.EgressRule) bool { return reflect.DeepEqual(r, rule) })
		s.Network.Egress = slices.Concat([]isolation.EgressRule{rule}, others)
		return nil
	})
}

// Restrict keeps these rules alone.
func (k *Kernel) Restrict(ctx context.Context, id string, rules []isolation.EgressRule) error {
	return k.amendLiving(ctx, "restrict", id, func(s *isolation.Spec) error {
		for i, r := range rules {
			if !slices.Contains([]string{"tcp", "udp", "icmp", "all"}, r.Protocol) {
				return fmt.Errorf("rule %d: protocol %q", i+1, r.Protocol)
			}
		}
		s.Network.Egress = slices.Clone(rules)
		return nil
	})
}

// Shape keeps the bandwidth.
func (k *Kernel) Shape(ctx context.Context, id string, limit isolation.Bandwidth) error {
	return k.amendLiving(ctx, "shape", id, func(s *isolation.Spec) error {
		if limit.Rate == 0 {
			return ErrRate
		}
		s.Limits.Bandwidth = limit
		return nil
	})
}

// copy is nobody's turn: a destruction doesn't wait for it.
func (k *Kernel) copy(ctx context.Context, call, id string) error {
	if err := k.fault(call, id); err != nil {
		return err
	}
	then, err := k.meet(ctx, "copy", id)
	if err != nil {
		return err
	}
	_, err = k.reach(ctx, id)
	return then(err)
}

// CopyIn copies nothing.
func (k *Kernel) CopyIn(ctx context.Context, id string, _ isolation.Copy) error {
	return k.copy(ctx, "copy in", id)
}

// CopyOut copies nothing.
func (k *Kernel) CopyOut(ctx context.Context, id string, _ isolation.Copy) error {
	return k.copy(ctx, "copy out", id)
}

// Folder is a name.
func (k *Kernel) Folder(id string) string { return "/containers/" + id }

// EndJob ends a job of a bare container.
func (k *Kernel) EndJob(id string, job uint32, exit isolation.Exit) {
	k.with(id, func(c *container) { c.end(job, exit) })
}

// Transcripts are what jobs on the model machine write: their own words, at once.
type Transcripts struct {
	Kernel   *Kernel
	Patience Patience // nil: by package time
}

var _ actors.Transcripts = Transcripts{}

func (t Transcripts) words(id string, job uint32) []byte {
	if j := t.Kernel.job(id, job); j != nil && !j.discard {
		return []byte(strings.Join(j.argv, " "))
	}
	return nil
}

// Follow hands the words over and waits for the end.
func (t Transcripts) Follow(ctx context.Context, w actors.Written, take func(string, []byte) error) error {
	if words := t.words(w.Container, w.Job); words != nil {
		if err := take("stdout", words); err != nil {
			return err
		}
	}
	return patient(t.Patience).Wait(ctx, -1, w.Ended)
}

// Exceeds compares the number of words' bytes.
func (t Transcripts) Exceeds(ctx context.Context, w actors.Written, most int64) (bool, error) {
	if int64(len(t.words(w.Container, w.Job))) > most {
		return true, nil
	}
	return false, patient(t.Patience).Wait(ctx, -1, w.Ended)
}

// Gather returns the words.
func (t Transcripts) Gather(w actors.Written, most int64) ([]byte, []byte, bool, error) {
	words := t.words(w.Container, w.Job)
	return words, nil, int64(len(words)) > most, nil
}

// Tag waits for the end.
func (t Transcripts) Tag(ctx context.Context, w actors.Written, _ string) error {
	return patient(t.Patience).Wait(ctx, -1, w.Ended)
}

// Designer designs the least that the model needs.
type Designer struct{}

var _ actors.Designer = Designer{}

// ErrRootfs is what a root file system called "missing" gets.
var ErrRootfs = errors.New("rootfs missing not found")

// errRule is what no address gets.
var errRule = errors.New("no rule")

// Container refuses the root file system called "missing".
func (Designer) Container(p actors.Placement, m messaging.CreateContainer) (isolation.Spec, error) {
	if m.Rootfs == "missing" {
		return isolation.Spec{}, ErrRootfs
	}
	return isolation.Spec{
		ID: p.Container, Slot: p.Slot, Epoch: p.Epoch, Owner: isolation.OwnerWarden, Created: p.Started,
		Limits: isolation.Limits{CPUShares: 1024},
	}, nil
}

// Job has the script's words as its program.
func (Designer) Job(number uint32, s messaging.Script) isolation.Job {
	return isolation.Job{Number: number, Argv: strings.Fields(s.Text), Discard: s.Discard}
}

// Egress takes networks that are addresses.
func (Designer) Egress(m messaging.AllowEgress) (isolation.EgressRule, error) {
	address, err := netip.ParseAddr(m.Network)
	if err != nil {
		return isolation.EgressRule{}, errRule
	}
	return isolation.EgressRule{Protocol: "tcp", First: address, Last: address, Log: m.Log}, nil
}

// Slot is the address's last byte, in fours.
func (Designer) Slot(network string) (uint32, error) {
	address, err := netip.ParseAddr(network)
	if err != nil {
		return 0, fmt.Errorf("no network %s", network)
	}
	bytes := address.As4()
	return uint32(bytes[3]) / 4, nil
}

// OutputMax is short.
func (Designer) OutputMax() int64 { return 100 }

// DiskQuota is there.
func (Designer) DiskQuota() bool { return true }

// Grace is five minutes.
func (Designer) Grace() time.Duration { return 5 * time.Minute }
