package box

import (
	"context"
	"errors"
	"fmt"

	"github.com/deacon-agent/deacon/isolation"
)

// catchUp gives a container that is held the limits that are on record and that
// a dead agent may not have got to giving it (amend). Only what the kernel has
// otherwise is written. What it refuses stays pending: the next agent tries again.
func (b *Box) catchUp(ctx context.Context, c *container) error {
	if !c.spec.Pending {
		return nil
	}
	has, err := b.limits(c)
	if err == nil {
		err = errors.Join(b.enforce(ctx, c.spec, missing(has, c.spec.Limits)), b.reshape(c))
	}
	if err != nil {
		return fmt.Errorf("limits of %s are on record only: %w", c.spec.ID, err)
	}
	spec := c.spec
	spec.Pending = false
	return b.rewrite(spec)
}

// missing is what has to change for a container to have the limits on record.
func missing(has, want isolation.Limits) (change isolation.LimitChange) {
	if want.MemoryBytes != has.MemoryBytes {
		change.MemoryBytes = &want.MemoryBytes
	}
	if want.CPUShares != has.CPUShares && want.CPUShares > 0 { // 0: none were ever asked for
		change.CPUShares = &want.CPUShares
	}
	if want.DiskBytes != has.DiskBytes {
		change.DiskBytes = &want.DiskBytes
	}
	if want.DiskInodes != has.DiskInodes {
		change.DiskInodes = &want.DiskInodes
	}
	return change
}

// reshape is for a limit on traffic: none is ever taken off again.
func (b *Box) reshape(c *container) error {
	if c.spec.Limits.Bandwidth.Rate == 0 {
		return nil
	}
	return b.network.Shape(b.attachment(c.spec), c.init.PIDFD())
}

// catchUpAll is catchUp for every container that answered. That one refuses its
// limits is no reason not to start.
func (b *Box) catchUpAll(ctx context.Context, specs []isolation.Spec) {
	for _, spec := range specs {
		c := b.held(spec.ID)
		if c == nil {
			continue
		}
		if err := b.catchUp(ctx, c); err != nil {
			b.Notes = append(b.Notes, err.Error())
		}
	}
}
