package box

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/deacon-agent/deacon/isolation/initclient"
	"github.com/deacon-agent/deacon/isolation/launcher"
	"github.com/deacon-agent/deacon/isolation/slot"
)

// gated is a PID 1 that waits at its gate in all its namespaces, and the
// agent's holds on it. It belongs to a slot by its user ids and to no container
// yet. Closing it ends it, and so does the agent's death.
type gated struct {
	slot   uint32
	gate   *initclient.Gate
	born   launcher.Born
	netns  *os.File
	userns *os.File
}

// clone makes a PID 1 for the slot, in the group where that is given (v2). Nothing
// depends on the launcher's life: where one dies, the next is asked, once.
func (b *Box) clone(ctx context.Context, number uint32, group *os.File) (gated, error) {
	g, err := b.cloneBy(ctx, number, group)
	if errors.Is(err, launcher.ErrDied) {
		return b.cloneBy(ctx, number, group)
	}
	return g, err
}

// cloneBy asks the launcher that there is. What a dying one may have cloned finds
// its gate closed.
func (b *Box) cloneBy(ctx context.Context, number uint32, group *os.File) (_ gated, err error) {
	g := gated{slot: number}
	defer func() {
		if err != nil {
			g.close()
		}
	}()
	l, err := b.ensureLauncher()
	if err != nil {
		return gated{}, err
	}
	if g.gate, err = initclient.NewGate(); err != nil {
		return gated{}, err
	}
	defer g.gate.ClosePeer()
	g.born, err = l.Clone(ctx, launcher.Request{
		Name: fmt.Sprintf("s%d", number), UIDBase: b.config.Plan.UID(number), Size: slot.UIDsPerSlot,
		Gate: g.gate.Peer(), Cgroup: group,
	})
	if err != nil {
		return gated{}, err
	}
	return g, g.openNamespaces()
}

// openNamespaces takes hold of PID 1's namespaces by its pid, and makes sure
// afterwards that the pid was still its own.
func (g *gated) openNamespaces() (err error) {
	dir := fmt.Sprintf("/proc/%d/ns/", g.born.PID)
	if g.netns, err = os.Open(dir + "net"); err != nil {
		return err
	}
	if g.userns, err = os.Open(dir + "user"); err != nil {
		return err
	}
	if !g.alive() {
		return initclient.ErrAtGate
	}
	return nil
}

func (g *gated) alive() bool {
	dead, err := waitDeath(int(g.born.PIDFD.Fd()), 0)
	return err == nil && !dead
}

// close lets go; it may be repeated. A PID 1 that has not passed its gate goes.
func (g *gated) close() {
	if g.gate != nil {
		g.gate.Close()
	}
	closeAll([]*os.File{g.born.PIDFD, g.netns, g.userns})
}
