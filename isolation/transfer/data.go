package transfer

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// pieceMax is how much is copied between two looks at the context.
const pieceMax = 1 << 20

// copyData copies what a file had when it was found, holes as holes. One that
// grows meanwhile is copied no further, one that shrinks is copied as it is.
func copyData(ctx context.Context, to, from *os.File, size int64) error {
	at := int64(0)
	for at < size {
		data, hole, err := extent(from, at, size)
		if err != nil {
			return err
		}
		if data == size {
			break
		}
		if at, err = copyExtent(ctx, to, from, extentOf{data, hole}); err != nil {
			return err
		}
		if at < hole {
			size = at
		}
	}
	if at == size && size > 0 {
		return nil // the last byte was written
	}
	return unix.Ftruncate(int(to.Fd()), size)
}

// extent finds the next data from an offset, and where it ends; both are size
// where nothing but a hole follows. Where a file system knows of no holes all is data.
func extent(from *os.File, at, size int64) (data, hole int64, err error) {
	data, err = unix.Seek(int(from.Fd()), at, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return size, size, nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP):
		return at, size, nil
	case err != nil:
		return 0, 0, err
	}
	hole, err = unix.Seek(int(from.Fd()), data, unix.SEEK_HOLE)
	return min(data, size), min(hole, size), err
}

// extentOf is a part of a file.
type extentOf struct{ at, end int64 }

// copyExtent copies in the kernel. copy_file_range is of no use here: it takes
// files of one file system only, and a container's root is its own. It returns
// how far it came: to the end, or to where the source ended earlier.
func copyExtent(ctx context.Context, to, from *os.File, part extentOf) (int64, error) {
	if _, err := unix.Seek(int(to.Fd()), part.at, io.SeekStart); err != nil {
		return part.at, err
	}
	at := part.at
	for at < part.end {
		if ctx.Err() != nil {
			return at, context.Cause(ctx)
		}
		n, err := unix.Sendfile(int(to.Fd()), int(from.Fd()), &at, int(min(part.end-at, pieceMax)))
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS):
			return copyByHand(ctx, to, from, extentOf{at, part.end})
		case err != nil:
			return at, err
		case n == 0:
			return at, nil
		}
	}
	return at, nil
}

// copyByHand is for file systems that the kernel can't splice from.
func copyByHand(ctx context.Context, to, from *os.File, part extentOf) (int64, error) {
	at, buffer := part.at, make([]byte, pieceMax)
	for at < part.end {
		if ctx.Err() != nil {
			return at, context.Cause(ctx)
		}
		n, err := from.ReadAt(buffer[:min(part.end-at, pieceMax)], at)
		if n == 0 && errors.Is(err, io.EOF) {
			return at, nil
		}
		if n == 0 {
			return at, cause(err)
		}
		if _, err := to.WriteAt(buffer[:n], at); err != nil {
			return at, cause(err)
		}
		at += int64(n)
	}
	return at, nil
}
