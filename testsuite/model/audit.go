package model

import (
	"context"
	"maps"
	"slices"

	"github.com/deacon-agent/deacon/isolation"
)

// Harm has somebody else do something to a container, which the next audit
// finds. Where that is fatal the audit ends the container.
func (k *Kernel) Harm(id, what string, fatal bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.harms == nil {
		k.harms = map[string]isolation.Finding{}
	}
	k.harms[id] = isolation.Finding{Container: id, What: what, Remedy: "it was given that again", Lost: fatal}
}

// Audit finds what Harm did, once.
func (k *Kernel) Audit(ctx context.Context) (found []isolation.Finding, err error) {
	if err := k.fault("audit", ""); err != nil {
		return nil, err
	}
	if _, err := k.meet(ctx, "audit", ""); err != nil {
		return nil, err
	}
	k.mu.Lock()
	for _, id := range slices.Sorted(maps.Keys(k.harms)) {
		if c, ok := k.containers[id]; ok && c.alive {
			found = append(found, k.harms[id])
		}
	}
	k.harms = nil
	k.mu.Unlock()
	for i, f := range found {
		if f.Lost {
			found[i].Remedy = "it was ended"
			k.KillInit(f.Container)
		}
	}
	return found, nil
}
