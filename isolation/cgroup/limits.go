package cgroup

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
)

// ErrInUse says that more memory is in use than a limit would allow, and that
// the kernel can't free it. The text is the C library's for EBUSY, because
// clients know it (wire/warden.md a).
//
//lint:ignore ST1005 how it is spelt is not ours to choose
var ErrInUse = errors.New("Device or resource busy")

// What the kernel makes of cpu shares beyond its bounds, and what a group has
// that was never given any.
const (
	sharesMin     = 2
	sharesMax     = 262_144
	sharesDefault = 1024
)

// Shares are cpu shares as the kernel takes them.
func Shares(asked uint64) uint64 { return min(max(asked, sharesMin), sharesMax) }

// unlimited is how v1 spells that there is no limit on memory: the largest
// number of whole pages.
var unlimited = math.MaxInt64 / int64(os.Getpagesize()) * int64(os.Getpagesize())

// inUse tells the one refusal that says something of the container from those
// that say something of the machine.
func inUse(err error, bytes int64) error {
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("%w: more than %d bytes of memory are in use: %w", ErrInUse, bytes, err)
	}
	return err
}

// replace writes a file and has undo write back what it held.
func replace(undo *isolation.Undo, dir, file, value string) error {
	before, err := readText(dir, file)
	if err != nil {
		return err
	}
	if err := write(dir, file, value); err != nil {
		return err
	}
	undo.Push(file, func() error { return write(dir, file, before) })
	return nil
}

// number spells a limit where zero is none.
func number(limit int64, none string) string {
	if limit == 0 {
		return none
	}
	return strconv.FormatInt(limit, 10)
}

func exists(dir, file string) bool {
	_, err := os.Stat(filepath.Join(dir, file))
	return err == nil
}

// gone says that there is no such group, which costs less than to read one.
func gone(dir string) bool {
	var stat unix.Stat_t
	return errors.Is(unix.Stat(dir, &stat), unix.ENOENT)
}
