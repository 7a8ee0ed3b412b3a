package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// Bounds are how much of a source is copied at most. Of a file that is too long
// for what is left of the bytes the end is copied; what there is no room for at
// all is left out. Either is said.
type Bounds struct {
	Bytes   int64
	Entries int // files, folders and links
}

// left is what is left of a source's bounds; nil: there are none.
type left struct{ Bounds }

// errMany ends a copy that has as many entries as it may; errLong is of one file,
// and there may be room for the next.
var (
	errMany = errors.New("there are more files than may be copied")
	errLong = errors.New("there is more in the files than may be copied")
)

// entry counts one thing that is to be copied.
func (l *left) entry() error {
	if l == nil {
		return nil
	}
	if l.Entries--; l.Entries < 0 {
		return errMany
	}
	return nil
}

// file says from where on a file of that size is copied.
func (l *left) file(size int64) (from int64, err error) {
	if l == nil {
		return 0, nil
	}
	if size > 0 && l.Bytes <= 0 {
		return 0, errLong
	}
	from = max(0, size-l.Bytes)
	l.Bytes -= size - from
	return from, nil
}

// cut is what is said of a file whose beginning is left out.
func cut(path string, from int64) error {
	return failed("copy all of", path, fmt.Errorf("the first %d bytes are left out: %w", from, errLong))
}

// copyEnd copies a file from an offset on.
func copyEnd(ctx context.Context, to, from *os.File, part extentOf) error {
	for at := part.at; at < part.end; at += pieceMax {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if _, err := io.Copy(to, io.NewSectionReader(from, at, min(pieceMax, part.end-at))); err != nil {
			return cause(err)
		}
	}
	return nil
}
