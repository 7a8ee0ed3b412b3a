package isolation

import (
	"errors"
	"fmt"
)

// Undo collects the reverse of what was done, so that a half-made thing is
// never left. It covers a failure inside one act; across a dead agent nothing
// is remembered, because every name follows from the slot.
type Undo struct{ acts []undoAct }

type undoAct struct {
	name   string
	revert func() error
}

// Push adds the reverse of the act just done.
func (u *Undo) Push(name string, revert func() error) {
	u.acts = append(u.acts, undoAct{name, revert})
}

// OnError reverts everything, newest first, when *err is not nil. A revert
// that fails doesn't stop the others: its error is joined to *err, so a leak
// is always reported with the failure that caused it.
func (u *Undo) OnError(err *error) {
	if *err == nil {
		return
	}
	for i := len(u.acts) - 1; i >= 0; i-- {
		if failed := u.acts[i].revert(); failed != nil {
			*err = errors.Join(*err, fmt.Errorf("undo %s: %w", u.acts[i].name, failed))
		}
	}
	u.acts = nil
}
