package actors

import (
	"context"

	"github.com/deacon-agent/deacon/actors/kit"
)

// Share is how much there is to promise of something, and how much is promised.
type Share struct{ Capacity, Promised int64 }

// Account is what the node's book says at one moment.
type Account struct {
	MemoryMiB, DiskMiB Share
	Slots, Ports       Share
}

// accountAsked is whoever watches the node, asking for the book's account.
type accountAsked struct{ reply kit.Reply[Account] }

func (accountAsked) node()   {}
func (accountAsked) ledger() {}

// Account asks the ledger; it waits no longer than ctx.
func (t *Tree) Account(ctx context.Context) (Account, error) {
	return kit.Ask(ctx, t.root, func(reply kit.Reply[Account]) nodeMessage { return accountAsked{reply} })
}

func (b *book) account(c Capacity) Account {
	return Account{
		MemoryMiB: Share{b.memory.capacity, b.memory.promised},
		DiskMiB:   Share{b.disk.capacity, b.disk.promised},
		Slots:     Share{int64(c.Plan.Max()), int64(b.slots.Held())},
		Ports:     Share{int64(c.PortLast) - int64(c.PortFirst) + 1, int64(b.ports.Held())},
	}
}
