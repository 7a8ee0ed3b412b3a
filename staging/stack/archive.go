package stack

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/deacon-agent/deacon/staging"
)

// blockSize is a tar's; it ends with blocks of zeros.
const blockSize = 512

// errCutOff says that an archive has no end: it could have had more entries.
var errCutOff = errors.New("the archive was cut off: it ends without the blocks that mark its end")

// untar writes the entries of a tar, compressed or not, and reads all of it, so
// that checksums behind the last entry are checked too.
func (w *writer) untar(ctx context.Context, body io.Reader) error {
	plain, done, err := staging.Decompress(bufio.NewReaderSize(interruptible{ctx, body}, copySize))
	if err != nil {
		return err
	}
	defer done()
	return w.untarPlain(plain)
}

func (w *writer) untarPlain(plain io.Reader) error {
	end := &ending{Reader: plain}
	archive := tar.NewReader(bufio.NewReaderSize(end, copySize))
	for {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		if errors.Is(err, tar.ErrHeader) {
			return fmt.Errorf("not a tar, a tar.gz or a tar.zst, or a damaged one: %w", err)
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("the archive was cut off, or it is none: %w", err)
		}
		if err != nil {
			return err
		}
		if err := w.add(header, archive); err != nil {
			return err
		}
	}
	if _, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{end}, w.buffer); err != nil {
		return err
	}
	if end.zeros < blockSize {
		return errCutOff
	}
	return nil
}

// ending counts with how many zeros a stream ends.
type ending struct {
	io.Reader
	zeros int64
}

func (e *ending) Read(p []byte) (int, error) {
	n, err := e.Reader.Read(p)
	last := n
	for last > 0 && p[last-1] == 0 {
		last--
	}
	if last > 0 {
		e.zeros = 0
	}
	e.zeros += int64(n - last)
	return n, err
}

// interruptible ends a stream with its context.
type interruptible struct {
	ctx context.Context
	io.Reader
}

func (r interruptible) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.Reader.Read(p)
}
