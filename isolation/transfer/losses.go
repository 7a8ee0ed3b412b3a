package transfer

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// saidMax is how many of the things that could not be copied are named.
const saidMax = 5

// losses are the things that could not be copied while the rest was.
type losses struct {
	said []error
	more int
}

// note keeps an error of one thing; it returns the error where there is no
// sense in going on.
func (l *losses) note(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case hopeless(err):
		return err
	case len(l.said) < saidMax:
		l.said = append(l.said, err)
	default:
		l.more++
	}
	return nil
}

// join is the error of all that was noted, and of what ended the rest.
func (l *losses) join(err error) error {
	all := append([]error{}, l.said...)
	if l.more > 0 {
		all = append(all, fmt.Errorf("and %d more", l.more))
	}
	return errors.Join(append(all, err)...)
}

// hopeless says of an error that the next thing will end in it too.
func hopeless(err error) bool {
	for _, one := range []error{
		unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.EIO, unix.EMFILE, unix.ENFILE, unix.ENOMEM, errDeep, errMany,
	} {
		if errors.Is(err, one) {
			return true
		}
	}
	return false
}

var errDeep = fmt.Errorf("more than %d folders in one another", DepthMax)
