package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// namesMax is how many names of a folder are read at once.
const namesMax = 256

type sender struct {
	ctx   context.Context
	out   chan<- entry
	lost  losses
	left  *left
	depth int
}

// send puts what lies at the path on its way.
func send(ctx context.Context, side Side, root int, out chan<- entry) error {
	s := &sender{ctx: ctx, out: out}
	if side.Most != nil {
		s.left = &left{*side.Most}
	}
	return s.lost.join(s.begin(side.Path, root))
}

func (s *sender) begin(path string, root int) error {
	dir, name := split(path)
	if name == "" {
		opened, err := resolve(root, dir, unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			return err
		}
		return s.folder(opened, "", dir)
	}
	opened, err := resolve(root, dir, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return failed("open", path, err)
	}
	defer opened.Close()
	return s.thing(opened, name, path)
}

// thing sends one name of a folder. What it is is asked of a descriptor that
// opens nothing, and only a file is opened by that: a name may be another's by
// now, and opening a device or a pipe is an act.
func (s *sender) thing(dir *os.File, name, path string) error {
	at, err := openIn(dir, name, unix.O_PATH)
	if err != nil {
		return failed("open", path, err)
	}
	defer at.Close()
	st, err := status(at)
	if err != nil {
		return failed("stat", path, err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		opened, err := openIn(dir, name, unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			return failed("open", path, err)
		}
		return s.folder(opened, name, path)
	case unix.S_IFREG:
		return s.file(at, entry{kind: file, name: name, mode: st.Mode & 0o7777, size: st.Size}, path)
	case unix.S_IFLNK:
		target, err := readLink(at)
		if err != nil {
			return failed("read link", path, err)
		}
		return s.put(entry{kind: link, name: name, target: target})
	}
	return nil
}

// file sends a file, or as much of it as there is room for.
func (s *sender) file(at *os.File, e entry, path string) (err error) {
	if e.from, err = s.left.file(e.size); err != nil {
		return failed("copy", path, err)
	}
	if e.file, err = os.Open(descriptorPath(at)); err != nil {
		return failed("open", path, cause(err))
	}
	if err := s.put(e); err != nil || e.from == 0 {
		return err
	}
	return cut(path, e.from)
}

// folder sends a folder with all that is in it, and closes it.
func (s *sender) folder(dir *os.File, name, path string) error {
	defer dir.Close()
	if s.depth++; s.depth > DepthMax {
		return failed("copy", path, errDeep)
	}
	defer func() { s.depth-- }()
	st, err := status(dir)
	if err != nil {
		return failed("stat", path, err)
	}
	if err := s.put(entry{kind: folder, name: name, mode: st.Mode & 0o7777}); err != nil {
		return err
	}
	for {
		names, err := dir.Readdirnames(namesMax)
		for _, inside := range names {
			if err := s.lost.note(s.ctx, s.thing(dir, inside, join(path, inside))); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return s.put(entry{kind: end})
		}
		if err != nil {
			return errors.Join(failed("read", path, cause(err)), s.put(entry{kind: end}))
		}
	}
}

func (s *sender) put(e entry) error {
	if e.kind != end {
		if err := s.left.entry(); err != nil {
			e.close()
			return err
		}
	}
	select {
	case s.out <- e:
		return nil
	case <-s.ctx.Done():
		e.close()
		return context.Cause(s.ctx)
	}
}

func descriptorPath(file *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", file.Fd()) }

// cause is an error without the path that it names, which is one of ours.
func cause(err error) error {
	if inner, ok := errors.AsType[*os.PathError](err); ok {
		return inner.Err
	}
	return err
}

func readLink(at *os.File) (string, error) {
	target := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(at.Fd()), "", target)
	return string(target[:max(n, 0)]), err
}
