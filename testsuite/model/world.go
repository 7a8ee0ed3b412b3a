package model

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
)

// Droplets is a cache in memory. A droplet whose SHA1 is in Wrong can't be had.
type Droplets struct {
	Takes time.Duration
	Wrong map[string]bool
	// StateFile is every droplet's.
	StateFile string
	// Fault, where set, may fail a download; Patience is how downloads wait.
	Fault    func() error
	Patience Patience

	mu      sync.Mutex
	fetches int
	cached  map[string]bool
}

// ErrDigest is what a wrong droplet gets.
var ErrDigest = errors.New("the droplet's digest is wrong")

// Fetch takes its time the first time only.
func (d *Droplets) Fetch(ctx context.Context, m messaging.Droplet) (actors.Droplet, error) {
	d.mu.Lock()
	known := d.cached[m.SHA1]
	if !known {
		d.fetches++
	}
	d.mu.Unlock()
	if !known {
		if err := patient(d.Patience).Wait(ctx, d.Takes); err != nil {
			return actors.Droplet{}, err
		}
		if d.Fault != nil {
			if err := d.Fault(); err != nil {
				return actors.Droplet{}, err
			}
		}
	}
	if d.Wrong[m.SHA1] {
		return actors.Droplet{}, ErrDigest
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cached == nil {
		d.cached = map[string]bool{}
	}
	d.cached[m.SHA1] = true
	return actors.Droplet{Digest: "sha1-" + m.SHA1, Layer: "/droplets/" + m.SHA1, StateFile: d.StateFile}, nil
}

// Fetches is how many downloads there were.
func (d *Droplets) Fetches() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fetches
}

// Evict drops what isn't to be kept.
func (d *Droplets) Evict(_ context.Context, keep []string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for sha1 := range d.cached {
		if !slices.Contains(keep, "sha1-"+sha1) {
			delete(d.cached, sha1)
		}
	}
	return nil
}

// Planner plans the least that the model needs.
type Planner struct {
	Hooks map[actors.Moment]string // what they do (Behaviour)
}

// Hook is the one that there is.
func (p Planner) Hook(m actors.Moment, _ actors.Placement, _ messaging.StartInstance) (*isolation.Job, error) {
	if p.Hooks[m] == "" {
		return nil, nil
	}
	return &isolation.Job{Argv: []string{p.Hooks[m]}}, nil
}

// Plan refuses what has no start command.
func (Planner) Plan(
	p actors.Placement, start messaging.StartInstance, d actors.Droplet,
) (isolation.Spec, isolation.Job, error) {
	if start.StartCommand == "" {
		return isolation.Spec{}, isolation.Job{}, actors.ErrNoStartCommand
	}
	spec := isolation.Spec{
		ID: p.Container, Slot: p.Slot, Epoch: p.Epoch, Owner: isolation.OwnerInstance,
		Tenant: p.Instance, Created: p.Started,
		Rootfs:  isolation.Rootfs{Layers: []string{d.Layer}},
		Limits:  isolation.Limits{MemoryBytes: start.Limits.MemoryMiB << 20, DiskBytes: start.Limits.DiskMiB << 20},
		Network: isolation.Network{Ports: []isolation.PortMap{{Host: p.Port, Container: p.Port}}},
	}
	return spec, isolation.Job{Number: 1, Argv: []string{start.StartCommand}}, nil
}

// Egress takes destinations that are addresses.
func (Planner) Egress(rules []messaging.EgressRule) (read []isolation.EgressRule, err error) {
	for i, r := range rules {
		address, err := netip.ParseAddr(r.Destination)
		if err != nil {
			return nil, fmt.Errorf("egress rule %d: %w", i+1, err)
		}
		read = append(read, isolation.EgressRule{Protocol: r.Protocol, First: address, Last: address, Log: r.Log})
	}
	return read, nil
}

// Store is a store in memory. What is in it outlives any number of trees.
type Store struct {
	mu      sync.Mutex
	records map[string]actors.Record
}

// Put keeps a record.
func (s *Store) Put(r actors.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.records == nil {
		s.records = map[string]actors.Record{}
	}
	s.records[r.Instance] = r
}

// Get finds a record.
func (s *Store) Get(instance string) (actors.Record, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.records[instance]
	return r, ok
}

// Change changes a record that is there.
func (s *Store) Change(instance string, change func(*actors.Record)) (actors.Record, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.records[instance]
	if ok {
		change(&r)
		s.records[instance] = r
	}
	return r, ok
}

// Remove drops a record.
func (s *Store) Remove(instance string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.records, instance)
}

// All returns every record in order.
func (s *Store) All() []actors.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []actors.Record
	for _, r := range s.records {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b actors.Record) int {
		return cmp.Or(cmp.Compare(a.Start.Application, b.Start.Application),
			cmp.Compare(a.Start.Index, b.Start.Index), cmp.Compare(a.Instance, b.Instance))
	})
	return all
}

// Flush has nothing to write.
func (s *Store) Flush(context.Context) error { return nil }
