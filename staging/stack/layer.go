package stack

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/staging"
)

// What a name in a layer says of the layers below it.
const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
	metaPrefix     = ".wh..wh."
)

// beginLayer forgets what the layer before wrote: it is what the next one's
// whiteouts are about.
func (w *writer) beginLayer() { w.layered, w.touched = true, map[string]bool{} }

// touch notes that this layer wrote an entry.
func (w *writer) touch(dir *os.File, base string) error {
	if !w.layered {
		return nil
	}
	at, err := w.where(dir)
	for name := path.Join(at, base); err == nil && name != "." && !w.touched[name]; name = path.Dir(name) {
		w.touched[name] = true
	}
	return err
}

// whiteout does what an entry orders that is none but an order. It is about what
// the layers below have: what this layer itself wrote stays, whichever comes
// first.
func (w *writer) whiteout(name string) (done bool, err error) {
	base := path.Base(name)
	if !strings.HasPrefix(base, whiteoutPrefix) {
		return false, nil
	}
	dir, err := w.tree.open(path.Dir(name), unix.O_PATH|unix.O_DIRECTORY)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return true, nil // nothing is there to be hidden
	}
	if err != nil {
		return true, err
	}
	defer dir.Close()
	at, err := w.where(dir)
	hidden := strings.TrimPrefix(base, whiteoutPrefix)
	switch {
	case err != nil:
		return true, err
	case base == opaqueName:
		return true, w.hideBelow(at)
	case strings.HasPrefix(base, metaPrefix):
		return true, nil // what aufs keeps for itself
	case hidden == "" || hidden == "." || hidden == "..":
		return true, &staging.EntryError{Entry: name, Reason: "hides nothing that could have a name"}
	}
	return true, w.hide(path.Join(at, hidden))
}

// hide removes an entry that this layer didn't write; of a folder that it wrote
// into, what it didn't. The path is a real one, without links.
func (w *writer) hide(name string) error {
	st, err := w.stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !w.touched[name]:
		return w.remove(name)
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return w.hideBelow(name)
	}
	return nil
}

func (w *writer) hideBelow(name string) error {
	names, err := w.list(name)
	if err != nil {
		return err
	}
	for _, base := range names {
		if err := w.hide(path.Join(name, base)); err != nil {
			return err
		}
	}
	return nil
}
