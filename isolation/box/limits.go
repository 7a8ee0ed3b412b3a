package box

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/cgroup"
	"github.com/deacon-agent/deacon/isolation/disk"
)

// Limit changes limits of a living container, whether or not anything runs in
// it, and returns all of them as the kernel has them: memory is whole pages,
// and what isn't limited is 0, however the kernel spells that. Where it fails,
// nothing is changed. cgroup.ErrInUse says that more memory is in use,
// disk.ErrNoQuota that the disk driver has no such bound. Without a change it
// only reads.
func (b *Box) Limit(ctx context.Context, id string, change isolation.LimitChange) (isolation.Limits, error) {
	if change != (isolation.LimitChange{}) {
		if err := b.relimit(ctx, id, change); err != nil {
			return isolation.Limits{}, fmt.Errorf("box: limit %s: %w", id, err)
		}
	}
	c, err := b.find(ctx, id)
	if err != nil {
		return isolation.Limits{}, fmt.Errorf("box: limits of %s: %w", id, err)
	}
	limits, err := b.limits(c)
	if err != nil {
		return isolation.Limits{}, fmt.Errorf("box: limits of %s: %w", id, err)
	}
	return limits, nil
}

func (b *Box) relimit(ctx context.Context, id string, change isolation.LimitChange) error {
	for name, limit := range map[string]*int64{
		"memory": change.MemoryBytes, "disk bytes": change.DiskBytes, "disk inodes": change.DiskInodes,
	} {
		if limit != nil && *limit < 0 {
			return fmt.Errorf("limit on %s is %d, want 0 (none) or more", name, *limit)
		}
	}
	return b.amend(ctx, id,
		func(spec *isolation.Spec) error {
			put(&spec.Limits, change)
			spec.Pending = true
			return nil
		},
		func(spec isolation.Spec) error { return b.enforce(ctx, spec, change) })
}

// put writes a change down. Shares are what the kernel will make of them:
// 0 on record are none that were ever asked for.
func put(l *isolation.Limits, change isolation.LimitChange) {
	for to, from := range map[*int64]*int64{
		&l.MemoryBytes: change.MemoryBytes, &l.DiskBytes: change.DiskBytes, &l.DiskInodes: change.DiskInodes,
	} {
		if from != nil {
			*to = *from
		}
	}
	if change.CPUShares != nil {
		l.CPUShares = cgroup.Shares(*change.CPUShares)
	}
}

// enforce makes the kernel keep what is on record now: all of the change, or
// nothing.
func (b *Box) enforce(ctx context.Context, spec isolation.Spec, change isolation.LimitChange) (err error) {
	c, err := b.reach(ctx, spec)
	if err != nil {
		return err
	}
	var undo isolation.Undo
	defer undo.OnError(&err)
	if change.DiskBytes != nil || change.DiskInodes != nil {
		area := b.config.Plan.Disk(slotOf(spec))
		before, err := b.quota(c)
		if err != nil {
			return err
		}
		if err := b.disk.Limit(area, disk.Change{Bytes: change.DiskBytes, Inodes: change.DiskInodes}); err != nil {
			return err
		}
		undo.Push("disk limit", func() error {
			return b.disk.Limit(area, disk.Change{Bytes: &before.Bytes, Inodes: &before.Inodes})
		})
	}
	return c.group.Limit(change)
}

// limits are a container's, as the kernel has them. Those on traffic are as on
// record.
func (b *Box) limits(c *container) (isolation.Limits, error) {
	limits, err := c.group.Limits(c.spec.Limits)
	if err != nil {
		return isolation.Limits{}, err
	}
	quota, err := b.quota(c)
	if err != nil {
		return isolation.Limits{}, err
	}
	limits.DiskBytes, limits.DiskInodes, limits.Bandwidth = quota.Bytes, quota.Inodes, c.spec.Limits.Bandwidth
	return limits, nil
}

// quota bounds a container's area. An area that an earlier agent made in memory
// can't be looked at any more, nor be changed: it is as on record.
func (b *Box) quota(c *container) (disk.Quota, error) {
	quota, err := b.disk.Quota(b.config.Plan.Disk(slotOf(c.spec)))
	if errors.Is(err, fs.ErrNotExist) {
		return disk.Quota{Bytes: c.spec.Limits.DiskBytes, Inodes: c.spec.Limits.DiskInodes}, nil
	}
	return quota, err
}

// Stats reads a container's counters. Nothing is walked but where a disk driver
// has no counter (disk.Driver's Account says what that costs).
func (b *Box) Stats(ctx context.Context, id string) (isolation.Stats, error) {
	c, err := b.find(ctx, id)
	if err != nil {
		return isolation.Stats{}, fmt.Errorf("box: stats of %s: %w", id, err)
	}
	stats, err := c.group.Stats()
	if err != nil {
		return isolation.Stats{}, fmt.Errorf("box: stats of %s: %w", id, err)
	}
	stats.Bandwidth = c.spec.Limits.Bandwidth
	// The disk's figures are missing where a driver can't tell; the rest is worth having.
	account, _ := b.disk.Account(b.config.Plan.Disk(slotOf(c.spec)))
	stats.DiskBytes, stats.DiskFiles = uint64(account.Bytes), uint64(account.Inodes)
	return stats, nil
}
