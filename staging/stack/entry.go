package stack

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/staging"
)

// What a container's 65,536 user ids can stand for, and who gets what is owned
// by others.
const (
	idMax  = 65535
	nobody = 65534
)

// Bounds of what is unpacked.
const (
	entriesMax = 4 << 20
	bytesMax   = 64 << 30
	targetMax  = 4095 // what the kernel takes for a symbolic link
	copySize   = 256 << 10
)

// xattrPrefix is what a tar's extended attributes are called in its headers.
const xattrPrefix = "SCHILY.xattr."

// writer puts entries into a tree.
type writer struct {
	*tree
	entries, bytes       int64
	entriesMax, bytesMax int64
	times                map[string]time.Time // of folders, which change while files are added
	odd                  map[string]int64     // what was done otherwise than it was asked, and how often
	buffer               []byte

	// layered says that .wh. names are orders. touched is what this layer wrote,
	// and every folder above that.
	layered bool
	touched map[string]bool
}

func newWriter(t *tree) *writer {
	return &writer{
		tree: t, entriesMax: entriesMax, bytesMax: bytesMax, times: map[string]time.Time{},
		odd: map[string]int64{}, buffer: make([]byte, copySize),
	}
}

// notes are what was odd, for people.
func (w *writer) notes() []string {
	var notes []string
	for _, what := range slices.Sorted(maps.Keys(w.odd)) {
		notes = append(notes, fmt.Sprintf("%d %s", w.odd[what], what))
	}
	return notes
}

// add writes one entry over whatever is there. Only a folder over a folder keeps
// what is in it.
func (w *writer) add(h *tar.Header, content io.Reader) error {
	if w.entries++; w.entries > w.entriesMax {
		return &staging.LimitError{What: "entries of the archive", Max: w.entriesMax}
	}
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil // says nothing that we use
	}
	name, err := staging.EntryName(h.Name)
	if err != nil {
		return err
	}
	if w.layered {
		if done, err := w.whiteout(name); done || err != nil {
			return named(name, err)
		}
	}
	if name == "." {
		if h.Typeflag != tar.TypeDir {
			return &staging.EntryError{Entry: h.Name, Reason: "is not a folder, but the root has to be one"}
		}
		return named(name, w.describe(w.root, ".", h))
	}
	return named(name, w.put(name, h, content))
}

// named names the entry at which something failed, but where the error does.
func named(name string, err error) error {
	if err == nil {
		return nil
	}
	if refused, is := errors.AsType[*staging.EntryError](err); is {
		return &staging.EntryError{Entry: name, Reason: refused.Reason}
	}
	if _, is := errors.AsType[*staging.LimitError](err); is {
		return err
	}
	return fmt.Errorf("entry %q: %w", name, err)
}

func (w *writer) put(name string, h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock {
		return w.device(name)
	}
	make, known := map[byte]func(*os.File, string, *tar.Header, io.Reader) error{
		tar.TypeDir: w.putFolder, tar.TypeReg: w.putFile, tar.TypeGNUSparse: w.putFile,
		tar.TypeSymlink: w.putSymlink, tar.TypeLink: w.putLink, tar.TypeFifo: w.putFifo,
	}[h.Typeflag]
	if !known {
		return &staging.EntryError{Entry: name, Reason: fmt.Sprintf("is of the unknown type %q", h.Typeflag)}
	}
	dir, err := w.parent(name)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) || errors.Is(err, errDangling) {
		return &staging.EntryError{Entry: name, Reason: fmt.Sprintf("passes through %q, which is no folder", path.Dir(name))}
	}
	if err != nil {
		return err
	}
	if err := w.touch(dir, path.Base(name)); err != nil {
		return err
	}
	return make(dir, path.Base(name), h, content)
}

// device leaves out what every container gets made, and refuses all else.
func (w *writer) device(name string) error {
	if !strings.HasPrefix(name, "dev/") {
		return &staging.EntryError{Entry: name, Reason: "is a device outside of /dev"}
	}
	w.odd["devices of /dev are left out"]++
	return nil
}

// clear makes way for an entry.
func (w *writer) clear(dir *os.File, base string) error {
	return os.RemoveAll(descriptor(dir) + "/" + base)
}

func (w *writer) putFolder(dir *os.File, base string, h *tar.Header, _ io.Reader) error {
	var st unix.Stat_t
	err := unix.Fstatat(int(dir.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		if err = w.clear(dir, base); err == nil {
			err = unix.ENOENT
		}
	}
	if err == unix.ENOENT {
		err = unix.Mkdirat(int(dir.Fd()), base, 0o700)
	}
	if err != nil {
		return err
	}
	return w.describe(dir, base, h)
}

func (w *writer) putFile(dir *os.File, base string, h *tar.Header, content io.Reader) error {
	if h.Size < 0 || h.Size > w.bytesMax-w.bytes {
		return w.tooLarge()
	}
	if err := w.clear(dir, base); err != nil {
		return err
	}
	file, err := create(dir, base)
	if err != nil {
		return err
	}
	if err := errors.Join(w.fill(file, content), file.Close()); err != nil {
		return err
	}
	return w.describe(dir, base, h)
}

// fill copies a file. What is nothing but zeros becomes a hole, as it may have
// been where it comes from: a header of a few bytes can promise gigabytes.
func (w *writer) fill(file *os.File, content io.Reader) error {
	var size int64
	for {
		n, err := io.ReadFull(content, w.buffer)
		if size += int64(n); n > 0 {
			if w.bytes += int64(n); w.bytes > w.bytesMax {
				return w.tooLarge()
			}
			if bytes.Count(w.buffer[:n], []byte{0}) == n {
				_, failed := file.Seek(int64(n), io.SeekCurrent)
				err = errors.Join(failed, err)
			} else if _, failed := file.Write(w.buffer[:n]); failed != nil {
				return failed
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return file.Truncate(size)
		}
		if err != nil {
			return err
		}
	}
}

func (w *writer) tooLarge() error {
	return &staging.LimitError{What: "bytes of the unpacked archive", Max: w.bytesMax}
}

func (w *writer) putSymlink(dir *os.File, base string, h *tar.Header, _ io.Reader) error {
	if h.Linkname == "" || len(h.Linkname) > targetMax || strings.ContainsRune(h.Linkname, 0) {
		return &staging.EntryError{Entry: base, Reason: "is a symbolic link to nothing, or to a name that can't be"}
	}
	if err := w.clear(dir, base); err != nil {
		return err
	}
	if err := unix.Symlinkat(h.Linkname, int(dir.Fd()), base); err != nil {
		return err
	}
	return w.describe(dir, base, h)
}

// putLink makes a hard link, which is only to a file that was there before it.
func (w *writer) putLink(dir *os.File, base string, h *tar.Header, _ io.Reader) error {
	outside := &staging.EntryError{Entry: base}
	outside.Reason = fmt.Sprintf("is a hard link to %q, which is no file before it", h.Linkname)
	target, err := staging.EntryName(h.Linkname)
	if err != nil {
		return outside
	}
	from, err := w.open(path.Dir(target), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return outside
	}
	defer from.Close()
	var linked, there unix.Stat_t
	err = unix.Fstatat(int(from.Fd()), path.Base(target), &linked, unix.AT_SYMLINK_NOFOLLOW)
	if kind := linked.Mode & unix.S_IFMT; err != nil || kind != unix.S_IFREG && kind != unix.S_IFLNK {
		return outside
	}
	err = unix.Fstatat(int(dir.Fd()), base, &there, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && there.Ino == linked.Ino && there.Dev == linked.Dev {
		return nil // itself: to make way for it would be to lose it
	}
	if err := w.clear(dir, base); err != nil {
		return err
	}
	return unix.Linkat(int(from.Fd()), path.Base(target), int(dir.Fd()), base, 0)
}

func (w *writer) putFifo(dir *os.File, base string, h *tar.Header, _ io.Reader) error {
	if err := w.clear(dir, base); err != nil {
		return err
	}
	if err := unix.Mknodat(int(dir.Fd()), base, unix.S_IFIFO|0o600, 0); err != nil {
		return err
	}
	return w.describe(dir, base, h)
}

// describe gives an entry its owner, mode, attributes and time, in this order: a
// new owner costs a file its setuid bit and its capabilities.
func (w *writer) describe(dir *os.File, base string, h *tar.Header) error {
	fd := int(dir.Fd())
	if err := unix.Fchownat(fd, base, w.id(h.Uid), w.id(h.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeSymlink {
		if err := unix.Fchmodat(fd, base, uint32(h.Mode)&0o7777, 0); err != nil {
			return err
		}
	}
	for record, value := range h.PAXRecords {
		attribute, is := strings.CutPrefix(record, xattrPrefix)
		if !is {
			continue
		}
		if !kept(attribute) || h.Typeflag == tar.TypeSymlink {
			w.odd["attributes are left out (all but capabilities and those of users)"]++
			continue
		}
		if err := unix.Lsetxattr(descriptor(dir)+"/"+base, attribute, []byte(value), 0); err != nil {
			return fmt.Errorf("attribute %s: %w", attribute, err)
		}
	}
	when := modified(h.ModTime)
	if h.Typeflag == tar.TypeDir {
		at, err := w.where(dir)
		w.times[path.Join(at, base)] = when
		return err
	}
	return setTime(fd, base, when)
}

// id is a user's or a group's, as a container can have it.
func (w *writer) id(id int) int {
	if id >= 0 && id <= idMax {
		return id
	}
	w.odd["owners above 65535, which no container has, became nobody (65534)"]++
	return nobody
}

// kept says which extended attributes mean something inside and nothing to the
// node: overlay's own would be orders to it.
func kept(attribute string) bool {
	return attribute == "security.capability" ||
		strings.HasPrefix(attribute, "user.") && !strings.HasPrefix(attribute, "user.overlay.")
}

// modified is an entry's time, or the epoch where it is one that file systems
// or interpreters choke on.
func modified(t time.Time) time.Time {
	if t.Year() < 1970 || t.Year() > 2200 {
		return time.Unix(0, 0)
	}
	return t
}

func setTime(dir int, base string, when time.Time) error {
	at := unix.NsecToTimespec(when.UnixNano())
	return unix.UtimesNanoAt(dir, base, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW)
}

// finish gives the folders their times.
func (w *writer) finish() error {
	if w.entries == 0 {
		return errors.New("the archive is empty")
	}
	for name, when := range w.times {
		dir, err := w.open(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
		if err != nil {
			continue // removed by a later layer, or no folder any more
		}
		err = setTime(int(dir.Fd()), ".", when)
		if err = errors.Join(err, dir.Close()); err != nil {
			return named(name, err)
		}
	}
	return nil
}
