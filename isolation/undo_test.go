package isolation

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestUndoRevertsNewestFirstAndGoesOnAfterAFailure(t *testing.T) {
	var order []string
	broken := errors.New("second can't be taken back")
	act := func() (err error) {
		var undo Undo
		defer undo.OnError(&err)
		undo.Push("first", func() error { order = append(order, "first"); return nil })
		undo.Push("second", func() error { order = append(order, "second"); return broken })
		undo.Push("third", func() error { order = append(order, "third"); return nil })
		return errors.New("the act failed")
	}

	err := act()

	if want := []string{"third", "second", "first"}; !slices.Equal(order, want) {
		t.Errorf("reverted %v, want %v", order, want)
	}
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "the act failed") {
		t.Errorf("error is %q; want both the failure and what could not be undone", err)
	}
}

func TestUndoKeepsWhatSucceeded(t *testing.T) {
	var err error
	var undo Undo
	undo.Push("act", func() error { t.Error("reverted a success"); return nil })

	undo.OnError(&err)
}
