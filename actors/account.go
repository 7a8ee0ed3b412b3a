package actors

import (
	"context"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/messaging"
)

// Account is what the node's book says at one moment.
type Account struct {
	MemoryMiB, DiskMiB messaging.Share
	Slots, Ports       messaging.Share
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
		MemoryMiB: messaging.Share{Capacity: b.memory.capacity, Promised: b.memory.promised},
		DiskMiB:   messaging.Share{Capacity: b.disk.capacity, Promised: b.disk.promised},
		Slots:     messaging.Share{Capacity: int64(c.Plan.Max()), Promised: int64(b.slots.Held())},
		Ports:     messaging.Share{Capacity: int64(c.PortLast) - int64(c.PortFirst) + 1, Promised: int64(b.ports.Held())},
	}
}
