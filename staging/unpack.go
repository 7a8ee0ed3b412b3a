package staging

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// zstdWindowMax bounds what a zstd body may make us hold in memory; it admits
// every level up to 20.
const zstdWindowMax = 32 << 20

// unpack writes the archive that is read from body, compressed or not, into l.
// Decompressing runs beside writing, one buffer ahead. body is only read until
// the archive is wrong.
func unpack(body *bufio.Reader, l *layer) error {
	plain, done, err := Decompress(body)
	if err != nil {
		return err
	}
	defer done()
	out, in := io.Pipe()
	defer out.Close() // also if untar panics: the other side must not wait for ever
	var reading sync.WaitGroup
	reading.Go(func() { in.CloseWithError(pump(in, plain, l.sizeMax)) })
	err = untar(bufio.NewReaderSize(out, copySize), l)
	out.Close()
	reading.Wait()
	return err
}

// Decompress reads what is gzip or zstd by its first bytes, and else takes it for
// plain. done is to be called in the end, also after an error of plain.
func Decompress(body *bufio.Reader) (plain io.Reader, done func(), err error) {
	magic, err := body.Peek(len(zstdMagic))
	if err != nil && err != io.EOF {
		return nil, nil, err
	}
	switch {
	case bytes.HasPrefix(magic, gzipMagic):
		r, err := gzip.NewReader(body)
		if err != nil {
			return nil, nil, fmt.Errorf("read gzip: %w", err)
		}
		return r, func() { r.Close() }, nil
	case bytes.Equal(magic, zstdMagic):
		r, err := zstd.NewReader(body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(zstdWindowMax))
		if err != nil {
			return nil, nil, fmt.Errorf("read zstd: %w", err)
		}
		return r, r.Close, nil
	}
	return body, func() {}, nil
}

// pump copies the decompressed archive into the pipe. All of it counts against
// the limit, headers too: an archive of headers alone would never end.
func pump(in *io.PipeWriter, plain io.Reader, max int64) (err error) {
	// Nobody else could catch a panic of a decompressor here, and it would end
	// the agent.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("decompress: panic: %v\n%s", p, debug.Stack())
		}
	}()
	buffer := make([]byte, copySize)
	n, err := io.CopyBuffer(in, struct{ io.Reader }{io.LimitReader(plain, max+1)}, buffer)
	if err == nil && n > max {
		err = &LimitError{What: "bytes of the unpacked archive", Max: max}
	}
	return err
}

func untar(plain *bufio.Reader, l *layer) error {
	archive := tar.NewReader(plain)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return notAnArchive(err)
		}
		if err := l.add(header, archive); err != nil {
			return err
		}
	}
	// What follows the end of the archive is read too: the decompressor's own
	// checksum comes last.
	if _, err := io.Copy(io.Discard, plain); err != nil {
		return err
	}
	return l.finish()
}

func notAnArchive(err error) error {
	if errors.Is(err, tar.ErrHeader) {
		return fmt.Errorf("not a gzip, zstd or tar archive, or a damaged one: %w", err)
	}
	return err
}
