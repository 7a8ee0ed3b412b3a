package transfer

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

type receiver struct {
	ctx  context.Context
	root int
	path string
	// drop are permissions that are not kept. On the node files become its
	// root's: what a container marked to run as its owner is not to run as that.
	drop  uint32
	open  []level // the folder that entries go to is the last
	aside int     // how many folders deep entries are passed over
	lost  losses
}

// level is a folder of the target that is being filled.
type level struct {
	dir  *os.File // O_PATH
	path string
	mode uint32 // what it gets at the end, where that is kept
	keep bool
	made bool // by us
}

// receive puts what comes where the path says.
func receive(ctx context.Context, side Side, root int, in <-chan entry) error {
	r := &receiver{ctx: ctx, root: root, path: side.Path}
	if side.As == nil {
		r.drop = unix.S_ISUID | unix.S_ISGID
	}
	defer func() {
		for _, l := range r.open {
			l.dir.Close()
		}
	}()
	for e := range in {
		err := r.take(e)
		e.close()
		if err := r.lost.note(ctx, err); err != nil {
			return r.lost.join(err)
		}
	}
	return r.lost.join(nil)
}

func (r *receiver) take(e entry) error {
	if r.aside > 0 {
		r.pass(e)
		return nil
	}
	if len(r.open) == 0 {
		var err error
		if e, err = r.begin(e); err != nil {
			r.pass(e)
			return err
		}
		if e.kind == 0 {
			return nil
		}
	}
	if strings.ContainsRune(e.name, '/') || e.name == "." || e.name == ".." {
		return failed("make", r.path+" "+e.name, unix.EINVAL) // no file system gives such names
	}
	in := r.open[len(r.open)-1]
	path := join(in.path, e.name)
	switch e.kind {
	case folder:
		err := r.enter(in, e)
		if err != nil {
			r.pass(e)
		}
		return failed("make folder", path, err)
	case end:
		return r.leave()
	case file:
		return failed("write", path, r.write(in, e))
	case link:
		return failed("make link", path, makeLink(in.dir, e))
	}
	return nil
}

// pass counts the folders in which nothing can be put.
func (r *receiver) pass(e entry) {
	switch e.kind {
	case folder:
		r.aside++
	case end:
		r.aside--
	}
}

// begin finds the folder that the first entry goes to, and the entry's name in
// it. Nothing is left to do of a folder that only lends what is in it.
func (r *receiver) begin(e entry) (entry, error) {
	dir, name := split(r.path)
	if name == "" || e.kind == folder {
		base, err := r.openOrMake()
		if err != nil {
			return e, err
		}
		if e.kind == folder && e.name == "" {
			base.mode, base.keep = e.mode, true
			r.open = append(r.open, base)
			return entry{}, prepare(base)
		}
		r.open = append(r.open, base)
		return e, nil
	}
	opened, err := resolve(r.root, r.path, unix.O_PATH|unix.O_DIRECTORY)
	if err == nil {
		r.open = append(r.open, level{dir: opened, path: r.path})
		return e, nil
	}
	if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) {
		return e, err
	}
	if opened, err = resolve(r.root, dir, unix.O_PATH|unix.O_DIRECTORY); err != nil {
		return e, failed("open", r.path, err)
	}
	r.open = append(r.open, level{dir: opened, path: dir})
	e.name = name
	return e, nil
}

// openOrMake opens the target as a folder; where its last component is missing
// it is made.
func (r *receiver) openOrMake() (level, error) {
	const flags = unix.O_PATH | unix.O_DIRECTORY
	opened, err := resolve(r.root, r.path, flags)
	if err == nil {
		return level{dir: opened, path: r.path}, nil
	}
	dir, name := split(bare(r.path))
	if !errors.Is(err, unix.ENOENT) || name == "" {
		return level{}, err
	}
	parent, err := resolve(r.root, dir, flags)
	if err != nil {
		return level{}, failed("open", r.path, err)
	}
	defer parent.Close()
	const usual = 0o755
	if err := unix.Mkdirat(int(parent.Fd()), name, usual); err != nil {
		return level{}, failed("make folder", r.path, err)
	}
	if opened, err = openIn(parent, name, flags); err != nil {
		return level{}, failed("open", r.path, err)
	}
	// Whatever the umask is.
	return level{dir: opened, path: r.path, made: true}, failed("make folder", r.path, chmod(opened, usual))
}

// enter makes a folder, or goes into the one that is there.
func (r *receiver) enter(in level, e entry) error {
	const flags = unix.O_PATH | unix.O_DIRECTORY
	made := unix.Mkdirat(int(in.dir.Fd()), e.name, 0o700)
	if made != nil && !errors.Is(made, unix.EEXIST) {
		return made
	}
	opened, err := openIn(in.dir, e.name, flags)
	if errors.Is(err, unix.ENOTDIR) { // a file, or a link wherever it leads
		if err = clear(in.dir, e.name); err == nil {
			made = unix.Mkdirat(int(in.dir.Fd()), e.name, 0o700)
			err = made
		}
		if err == nil {
			opened, err = openIn(in.dir, e.name, flags)
		}
	}
	if err != nil {
		return err
	}
	l := level{dir: opened, path: join(in.path, e.name), mode: e.mode, keep: true, made: made == nil}
	r.open = append(r.open, l)
	return prepare(l)
}

// prepare has a folder take entries until it is left, if it is ours to change.
func prepare(l level) error {
	const whole = unix.S_IRWXU
	st, err := status(l.dir)
	if err == nil && st.Mode&whole != whole {
		_ = chmod(l.dir, st.Mode&0o7777|whole) // or what is put into it fails, and says why
	}
	return err
}

// leave gives a folder the mode that it is to have. One that was there before
// and belongs to another, /tmp, keeps its own.
func (r *receiver) leave() error {
	l := r.open[len(r.open)-1]
	r.open = r.open[:len(r.open)-1]
	defer l.dir.Close()
	if !l.keep {
		return nil
	}
	st, err := status(l.dir)
	if err == nil && st.Mode&0o7777 != l.mode {
		err = chmod(l.dir, l.mode)
		if errors.Is(err, unix.EPERM) && !l.made {
			err = nil
		}
	}
	return failed("set the mode of", l.path, err)
}

// chmod sets the mode of what an O_PATH descriptor stands for.
func chmod(dir *os.File, mode uint32) error { return unix.Chmod(descriptorPath(dir), mode) }

// write makes the file beside its place and puts it there whole.
func (r *receiver) write(in level, e entry) (err error) {
	dir, name := int(in.dir.Fd()), temporary(e.name)
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(dir, name, flags, 0o600)
	if err != nil {
		return err
	}
	out := os.NewFile(uintptr(fd), name)
	defer func() {
		if err = errors.Join(err, out.Close()); err != nil {
			unix.Unlinkat(dir, name, 0)
		}
	}()
	if e.from > 0 {
		err = copyEnd(r.ctx, out, e.file, extentOf{e.from, e.size})
	} else {
		err = copyData(r.ctx, out, e.file, e.size)
	}
	if err != nil {
		return err
	}
	if err := unix.Fchmod(fd, e.mode&^r.drop); err != nil {
		return err
	}
	return put(in.dir, name, e.name)
}

// put renames what was made to where it is to be.
func put(dir *os.File, from, to string) error {
	at := int(dir.Fd())
	err := unix.Renameat(at, from, at, to)
	if errors.Is(err, unix.EISDIR) {
		if err = clear(dir, to); err == nil {
			err = unix.Renameat(at, from, at, to)
		}
	}
	return err
}

// temporary is a name that nobody else uses, as rsync makes it. A name may have
// 255 bytes.
func temporary(name string) string {
	const room = 255 - len("..") - 10
	return "." + name[:min(len(name), room)] + "." + rand.Text()[:10]
}

func makeLink(dir *os.File, e entry) error {
	name := temporary(e.name)
	if err := unix.Symlinkat(e.target, int(dir.Fd()), name); err != nil {
		return err
	}
	err := put(dir, name, e.name)
	if err != nil {
		unix.Unlinkat(int(dir.Fd()), name, 0)
	}
	return err
}

// clear removes what stands in the way of a name: anything but a folder with
// something in it.
func clear(dir *os.File, name string) error {
	err := unix.Unlinkat(int(dir.Fd()), name, 0)
	if errors.Is(err, unix.EISDIR) {
		err = unix.Unlinkat(int(dir.Fd()), name, unix.AT_REMOVEDIR)
	}
	return err
}
