package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/isolation"
)

// ErrStep is how a step fails that was made to.
var ErrStep = errors.New("chaos: the step was made to fail")

var stepsFail = Fault{
	Name: "steps-fail", Harm: Nobody, For: 10 * time.Second, Takes: []string{"rate"},
	Does: "acts on the kernel fail, drawn by \"rate\" (0.3): making, stopping, destroying, releasing, " +
		"preparing, measuring, probing",
	Heals:     "they are let through again",
	Available: always,
	Inject: func(_ context.Context, n *Node, o Order) (Injection, error) {
		rate := rateOr(o.Rate)
		n.Steps.fail(rate, o.Seed)
		return Injection{
			Note: fmt.Sprintf("%.0f %% of the steps", rate*100),
			Heal: func(context.Context) error { n.Steps.fail(0, 0); return nil },
		}, nil
	},
}

var stepsSlow = Fault{
	Name: "steps-slow", Harm: Nobody, For: 10 * time.Second, Takes: []string{"delay"},
	Does:      "every act on the kernel takes \"delay\" (500ms) longer",
	Heals:     "they are let through at once again",
	Available: always,
	Inject: func(_ context.Context, n *Node, o Order) (Injection, error) {
		delay := o.Delay.or(500 * time.Millisecond)
		n.Steps.slow(delay)
		return Injection{
			Note: delay.String() + " longer each",
			Heal: func(context.Context) error { n.Steps.slow(0); return nil },
		}, nil
	},
}

// Steps stands between the tree and the kernel's side.
type Steps struct {
	actors.Kernel // waits and lists are no steps: they pass

	mu    sync.Mutex
	rate  float64
	rng   *rand.Rand
	delay time.Duration
}

var _ actors.Kernel = (*Steps)(nil)

// Before puts steps that can be made to fail before a kernel's.
func Before(kernel actors.Kernel) *Steps { return &Steps{Kernel: kernel} }

func (s *Steps) fail(rate float64, seed uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rate, s.rng = rate, random(seed)
}

func (s *Steps) slow(delay time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delay = delay
}

// pass is before every step; late says whether one that fails has been done
// all the same, as when an answer is lost.
func (s *Steps) pass(ctx context.Context) (late bool, err error) {
	s.mu.Lock()
	delay := s.delay
	var struck bool
	if s.rate > 0 {
		struck, late = s.rng.Float64() < s.rate, s.rng.IntN(2) == 0
	}
	s.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
	if struck {
		return late, ErrStep
	}
	return false, nil
}

// step does what may be repeated, and may lose the answer.
func (s *Steps) step(ctx context.Context, act func() error) error {
	late, err := s.pass(ctx)
	if err == nil {
		return act()
	}
	if late {
		err = errors.Join(err, act())
	}
	return err
}

// Create fails before anything was made, because on error nothing of it is left.
func (s *Steps) Create(ctx context.Context, spec isolation.Spec, job *isolation.Job) (isolation.Status, error) {
	if _, err := s.pass(ctx); err != nil {
		return isolation.Status{}, err
	}
	return s.Kernel.Create(ctx, spec, job)
}

// Prepare may fail or be slow.
func (s *Steps) Prepare(ctx context.Context, slots []uint32) (bool, error) {
	if _, err := s.pass(ctx); err != nil {
		return false, err
	}
	return s.Kernel.Prepare(ctx, slots)
}

// Adopt may be slow. That it fails would say that a container is no more.
func (s *Steps) Adopt(ctx context.Context, id string) (isolation.Status, error) {
	if _, err := s.pass(ctx); err != nil && !errors.Is(err, ErrStep) {
		return isolation.Status{}, err
	}
	return s.Kernel.Adopt(ctx, id)
}

// Audit may fail or be slow: then what somebody broke is found later.
func (s *Steps) Audit(ctx context.Context) ([]isolation.Finding, error) {
	if _, err := s.pass(ctx); err != nil {
		return nil, err
	}
	return s.Kernel.Audit(ctx)
}

// Stop may fail, be slow, or lose its answer.
func (s *Steps) Stop(ctx context.Context, id string, grace time.Duration) error {
	return s.step(ctx, func() error { return s.Kernel.Stop(ctx, id, grace) })
}

// Destroy may fail, be slow, or lose its answer.
func (s *Steps) Destroy(ctx context.Context, id string) error {
	return s.step(ctx, func() error { return s.Kernel.Destroy(ctx, id) })
}

// Release may fail, be slow, or lose its answer.
func (s *Steps) Release(ctx context.Context, ids []string) error {
	return s.step(ctx, func() error { return s.Kernel.Release(ctx, ids) })
}

// Usage may fail or be slow.
func (s *Steps) Usage(ctx context.Context, id string) (isolation.Usage, error) {
	if _, err := s.pass(ctx); err != nil {
		return isolation.Usage{}, err
	}
	return s.Kernel.Usage(ctx, id)
}

// Restrict may fail, be slow, or lose its answer.
func (s *Steps) Restrict(ctx context.Context, id string, rules []isolation.EgressRule) error {
	return s.step(ctx, func() error { return s.Kernel.Restrict(ctx, id, rules) })
}

// Probe may fail or be slow.
func (s *Steps) Probe(ctx context.Context, address netip.AddrPort) error {
	if _, err := s.pass(ctx); err != nil {
		return err
	}
	return s.Kernel.Probe(ctx, address)
}
