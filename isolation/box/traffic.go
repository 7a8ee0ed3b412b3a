package box

import (
	"context"
	"fmt"
	"reflect"
	"slices"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/network"
)

// Map adds a port to a living container. One that it has already is success;
// network.ErrPortTaken says that the port of the node leads elsewhere.
func (b *Box) Map(ctx context.Context, id string, port isolation.PortMap) error {
	err := b.amendLiving(ctx, id, func(spec *isolation.Spec) error {
		has := slices.IndexFunc(spec.Network.Ports, func(p isolation.PortMap) bool { return p.Host == port.Host })
		if has >= 0 && spec.Network.Ports[has] != port {
			return fmt.Errorf("%w: %d leads to %d of the same container",
				network.ErrPortTaken, port.Host, spec.Network.Ports[has].Container)
		}
		if has < 0 {
			spec.Network.Ports = slices.Concat(spec.Network.Ports, []isolation.PortMap{port})
		}
		return b.network.Vet(b.attachment(*spec))
	}, func(c *container) error { return b.network.Map(b.attachment(c.spec), port) })
	if err != nil {
		return fmt.Errorf("box: map port %d to %s: %w", port.Host, id, err)
	}
	return nil
}

// Allow puts an egress rule in front of those that a living container has. One
// that it has already comes to the front.
func (b *Box) Allow(ctx context.Context, id string, rule isolation.EgressRule) error {
	err := b.amendLiving(ctx, id, func(spec *isolation.Spec) error {
		former := slices.DeleteFunc(slices.Clone(spec.Network.Egress),
			func(r isolation.EgressRule) bool { return sameRule(r, rule) })
		spec.Network.Egress = slices.Concat([]isolation.EgressRule{rule}, former)
		return b.network.Vet(b.attachment(*spec))
	}, func(c *container) error { return b.network.Restrict(b.attachment(c.spec)) })
	if err != nil {
		return fmt.Errorf("box: allow egress of %s: %w", id, err)
	}
	return nil
}

// Restrict replaces all egress rules that a living container has by these, in one
// moment. Connections that were allowed when they began go on.
func (b *Box) Restrict(ctx context.Context, id string, rules []isolation.EgressRule) error {
	err := b.amendLiving(ctx, id, func(spec *isolation.Spec) error {
		spec.Network.Egress = slices.Clone(rules)
		return b.network.Vet(b.attachment(*spec))
	}, func(c *container) error { return b.network.Restrict(b.attachment(c.spec)) })
	if err != nil {
		return fmt.Errorf("box: restrict egress of %s: %w", id, err)
	}
	return nil
}

// sameRule takes no ports and an empty list of them for the same, as records do.
func sameRule(a, b isolation.EgressRule) bool {
	same := slices.Equal(a.Ports, b.Ports)
	a.Ports, b.Ports = nil, nil
	return same && reflect.DeepEqual(a, b)
}

// Shape limits a living container's traffic each way, in place of an earlier
// limit. A burst that a full packet doesn't fit in is raised to one.
func (b *Box) Shape(ctx context.Context, id string, limit isolation.Bandwidth) error {
	err := b.amendLiving(ctx, id, func(spec *isolation.Spec) error {
		if limit.Rate == 0 {
			return network.ErrRate
		}
		spec.Limits.Bandwidth, spec.Pending = limit, true
		return b.network.Vet(b.attachment(*spec))
	}, func(c *container) error { return b.network.Shape(b.attachment(c.spec), c.init.PIDFD()) })
	if err != nil {
		return fmt.Errorf("box: shape %s: %w", id, err)
	}
	return nil
}

// Shaped reads back from the kernel what limits a container's traffic.
func (b *Box) Shaped(ctx context.Context, id string) (in, out isolation.Bandwidth, set bool, err error) {
	c, err := b.find(ctx, id)
	if err == nil && c.spec.Limits.Bandwidth.Rate > 0 {
		in, out, set, err = b.network.Shaped(b.attachment(c.spec), c.init.PIDFD())
	}
	if err != nil {
		return in, out, false, fmt.Errorf("box: bandwidth of %s: %w", id, err)
	}
	return in, out, set, nil
}

// amendLiving is amend of a container whose PID 1 lives: on a dead one nothing
// could take effect.
func (b *Box) amendLiving(ctx context.Context, id string, change func(*isolation.Spec) error,
	effect func(*container) error) error {
	if _, err := b.find(ctx, id); err != nil {
		return err
	}
	return b.amend(ctx, id, change, func(spec isolation.Spec) error {
		c, err := b.reach(ctx, spec)
		if err != nil {
			return err
		}
		return effect(c)
	})
}

// settlePorts takes a port that several have on record from all but the one that
// has it, on record too: it would turn up with another of them one day, or rest
// when that one is destroyed.
func (b *Box) settlePorts(ctx context.Context, specs []isolation.Spec) error {
	var all []network.Attachment
	for _, spec := range specs {
		all = append(all, b.attachment(spec))
	}
	settled, err := b.network.Settle(all)
	if err != nil {
		return err
	}
	for i, a := range settled {
		if len(a.Spec.Ports) == len(specs[i].Network.Ports) {
			continue
		}
		specs[i].Network.Ports = a.Spec.Ports
		drop := func(spec *isolation.Spec) error { spec.Network.Ports = a.Spec.Ports; return nil }
		if err := b.amend(ctx, specs[i].ID, drop, nil); err != nil {
			return err
		}
	}
	return nil
}
