package model

import (
	"strings"
	"testing"

	"github.com/deacon-agent/deacon/isolation"
)

// Who looks for broken promises must find them.
func TestEveryBrokenPromiseIsNoticed(t *testing.T) {
	port := isolation.Network{Ports: []isolation.PortMap{{Host: 20000, Container: 20000}}}
	limit := isolation.Limits{MemoryBytes: 600 << 20}
	first := isolation.Spec{
		ID: "c1", Slot: 1, Owner: isolation.OwnerInstance, Tenant: "i1", Network: port, Limits: limit,
	}
	make := func(k *Kernel, spec isolation.Spec) {
		job := isolation.Job{Number: 1, Argv: []string{"serve"}}
		if _, err := k.Create(t.Context(), spec, &job); err != nil {
			t.Fatal(err)
		}
	}
	for want, wrong := range map[string]func(k *Kernel){
		"slot 1 given to c2":          func(k *Kernel) { make(k, isolation.Spec{ID: "c2", Slot: 1}) },
		"port 20000 given to c2":      func(k *Kernel) { make(k, isolation.Spec{ID: "c2", Slot: 2, Network: port}) },
		"i1 is started a second time": func(k *Kernel) { make(k, isolation.Spec{ID: "c2", Slot: 2, Tenant: "i1"}) },
		"container c1 released alive": func(k *Kernel) { k.Release(t.Context(), []string{"c1"}) },
		"bytes of memory are promised": func(k *Kernel) {
			make(k, isolation.Spec{ID: "c2", Slot: 2, Owner: isolation.OwnerInstance, Limits: limit})
		},
		"the number of job 2 of c1 is given to another": func(k *Kernel) { twice(t, k) },
		"port 20000 given to c2 while c1 has": func(k *Kernel) {
			make(k, isolation.Spec{ID: "c2", Slot: 2})
			k.Map(t.Context(), "c2", isolation.PortMap{Host: 20000, Container: 1})
		},
	} {
		k := NewKernel()
		k.Strict, k.Memory = true, 1<<30
		make(k, first)
		wrong(k)
		if found := strings.Join(k.Violations(), "\n"); !k.Broken() || !strings.Contains(found, want) {
			t.Errorf("found %q, want %q", found, want)
		}
	}
}

// twice gives one number to two jobs.
func twice(t *testing.T, k *Kernel) {
	t.Helper()
	for _, words := range []string{"serve", "deaf"} {
		k.Spawn(t.Context(), "c1", isolation.Job{Number: 2, Argv: []string{words}})
	}
}

// After a reboot an instance may be started again, once.
func TestARebootLeavesFoldersAndAllowsAnotherStart(t *testing.T) {
	k := NewKernel()
	job := isolation.Job{Number: 1, Argv: []string{"serve"}}
	for i, id := range []string{"c1", "c2", "c3"} {
		spec := isolation.Spec{ID: id, Slot: uint32(i), Tenant: "i1"}
		if _, err := k.Create(t.Context(), spec, &job); err != nil {
			t.Fatal(err)
		}
		if id == "c1" {
			k.Reboot()
		}
		if r, there := k.Look("c1"); !there || r.Lives {
			t.Errorf("after the reboot c1 is there: %v, and lives: %v", there, r.Lives)
		}
	}
	if found := k.Violations(); len(found) != 1 || !strings.Contains(found[0], "in c3 after c2") {
		t.Errorf("found %q", found)
	}
}
