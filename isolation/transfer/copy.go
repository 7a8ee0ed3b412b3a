package transfer

import (
	"context"
	"errors"
	"os"
)

// ahead is how many entries the sender may be ahead of the receiver: as many
// open files.
const ahead = 16

// DepthMax is how deep folders may lie in one another: each costs a descriptor
// at either end, and how many there are is the container's decision.
const DepthMax = 512

// Side is one end of a copy.
type Side struct {
	// Path is absolute, below Root. At the source a slash at its end means what
	// is in it, not the thing itself.
	Path string
	// Root is the folder that Path can't leave; nil: the node's own root.
	Root *os.File
	// As is who works there; nil: whoever calls.
	As *Account
	// Most bounds what is copied from there; nil: nothing does.
	Most *Bounds
}

// Copy copies what lies at one side to the other. A target whose last component
// is missing is made; files there are replaced; nothing is deleted but what
// stands in the way of a name: a file, a link or an empty folder.
func Copy(ctx context.Context, from, to Side) error {
	outer := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	entries := make(chan entry, ahead)
	sent := make(chan error, 1)
	go func() {
		defer close(entries)
		sent <- from.work(func(root int) error { return send(ctx, from, root, entries) })
	}()
	received := to.work(func(root int) error { return receive(ctx, to, root, entries) })
	if received != nil {
		cancel(errRefused)
	}
	for e := range entries {
		e.close()
	}
	err := <-sent
	switch {
	case outer.Err() != nil:
		return context.Cause(outer)
	case errors.Is(err, errRefused):
		err = nil // the receiver has the reason
	}
	return errors.Join(received, err)
}

// errRefused ends the sender when the receiver has.
var errRefused = errors.New("transfer: the receiver ended")

// work does one side's part, as who is to do it.
func (s Side) work(act func(root int) error) error {
	root := s.Root
	if root == nil {
		own, err := os.Open("/")
		if err != nil {
			return err
		}
		defer own.Close()
		root = own
	}
	if s.As == nil {
		return act(int(root.Fd()))
	}
	return s.As.do(func() error { return act(int(root.Fd())) })
}

// kind is what an entry tells.
type kind uint8

const (
	folder kind = iota + 1 // what follows lies in it
	end                    // of the last folder
	file
	link
)

// entry is one thing on its way. Name is one component; empty: the folder at
// the top, of which only what is in it is copied.
type entry struct {
	kind   kind
	name   string
	mode   uint32   // permissions, of a folder and a file
	file   *os.File // a file's content, the receiver's to close
	size   int64    // of the file, when it was found
	from   int64    // what is before that is left out
	target string   // of a link
}

func (e entry) close() {
	if e.file != nil {
		e.file.Close()
	}
}
