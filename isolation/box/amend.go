package box

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/record"
)

// Note keeps what the owner wants to be kept with the container.
func (b *Box) Note(ctx context.Context, id string, note json.RawMessage) error {
	err := b.amend(ctx, id, func(spec *isolation.Spec) error {
		spec.Note = note
		return nil
	}, nil)
	if err != nil {
		return fmt.Errorf("box: note of %s: %w", id, err)
	}
	return nil
}

// amend changes what a container is made of: first on record, so that a
// successor makes the same of it, then in the kernel. Where change refuses,
// nothing is changed; where effect fails, the record is what it was. A change that
// says it is pending is so on record until effect is over (catchUp).
func (b *Box) amend(ctx context.Context, id string, change func(*isolation.Spec) error,
	effect func(isolation.Spec) error) error {
	over, err := b.turns.take(ctx, id)
	if err != nil {
		return err
	}
	defer over()
	before, err := b.recorded(id)
	if errors.Is(err, fs.ErrNotExist) {
		err = isolation.ErrUnknown
	}
	if err != nil {
		return err
	}
	after := before
	if err := change(&after); err != nil {
		return err
	}
	if err := b.rewrite(after); err != nil {
		return err
	}
	if effect == nil {
		return nil
	}
	if err := effect(after); err != nil {
		return errors.Join(err, b.rewrite(before))
	}
	if after.Pending && !before.Pending {
		after.Pending = false
		// That it could not be written costs a successor a look, and nobody else anything.
		_ = b.rewrite(after)
	}
	return nil
}

// recorded is what is on record: who is held is known by heart.
func (b *Box) recorded(id string) (isolation.Spec, error) {
	if c := b.held(id); c != nil {
		spec := c.spec // others read it: what a change may write to is its own
		spec.Network.Ports, spec.Network.Egress = slices.Clone(spec.Network.Ports), slices.Clone(spec.Network.Egress)
		return spec, nil
	}
	return b.folder(id).spec()
}

// rewrite replaces a container's intent record, and what is known of it here.
func (b *Box) rewrite(spec isolation.Spec) error {
	if err := record.Replace(string(b.folder(spec.ID)), specRecord, spec); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if c, ok := b.live[spec.ID]; ok {
		// Replaced, not written to: others read it without the lock.
		b.live[spec.ID] = &container{spec: spec, init: c.init, group: c.group}
	}
	return nil
}
