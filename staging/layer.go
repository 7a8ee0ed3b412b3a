package staging

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"
)

// Where a droplet lies in its layer, and who owns it there. The owner is
// shifted into the container's range when the layer is mounted.
const (
	vcapID   = 2000
	vcapHome = "home/vcap"
)

// always are the folders that every droplet has, whether its archive does or not.
var always = []string{"app", "logs", "tmp"}

// copySize is how much is read and written at once.
const copySize = 256 << 10

// folderNamesMax bounds what is remembered of folders, whose names an archive
// could make long.
const folderNamesMax = 64 << 20

// layer is a droplet that is being written. Every parent of an entry is a
// folder that the layer made itself, so that no link is ever passed; beneath
// that, os.Root refuses whatever would leave the folder.
type layer struct {
	root    *os.Root // of home/vcap
	folders map[string]*folder
	names   int64 // bytes of folders' names

	dir    *os.Root // the parent of the last entry: archives come folder by folder
	dirAt  string
	buffer []byte

	entries, entriesMax int64
	size, sizeMax       int64
}

type folder struct {
	listed   bool // the archive has an entry for it
	modified time.Time
}

// newLayer makes the top of the layer at an absolute path.
func newLayer(at string, o Options) (*layer, error) {
	for _, dir := range []string{at, filepath.Join(at, "home"), filepath.Join(at, vcapHome)} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, err
		}
		if err := os.Chmod(dir, 0o755); err != nil { // whatever the umask says
			return nil, err
		}
	}
	home := filepath.Join(at, vcapHome)
	if err := os.Chown(home, vcapID, vcapID); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(home)
	if err != nil {
		return nil, err
	}
	return &layer{
		root:       root,
		folders:    map[string]*folder{".": {}},
		buffer:     make([]byte, copySize),
		entriesMax: int64(o.EntriesMax),
		sizeMax:    o.SizeMax,
	}, nil
}

// close is to be called once, also after an error.
func (l *layer) close() {
	l.leave()
	l.root.Close()
}

// add writes one entry.
func (l *layer) add(header *tar.Header, content io.Reader) error {
	if header.Typeflag == tar.TypeXGlobalHeader {
		return l.count() // says nothing that we use
	}
	name, err := EntryName(header.Name)
	if err != nil {
		return err
	}
	if name == "." && header.Typeflag != tar.TypeDir {
		return &EntryError{header.Name, "is not a folder, but the droplet itself has to be one"}
	}
	switch header.Typeflag {
	case tar.TypeDir:
		return l.addFolder(name, header)
	case tar.TypeReg, tar.TypeGNUSparse:
		return l.addFile(name, header, content)
	case tar.TypeSymlink:
		return l.addSymlink(name, header.Linkname)
	case tar.TypeLink:
		return l.addLink(name, header.Linkname)
	case tar.TypeChar, tar.TypeBlock:
		return &EntryError{name, "is a device"}
	case tar.TypeFifo:
		return &EntryError{name, "is a fifo"}
	}
	return &EntryError{name, fmt.Sprintf("is of the unknown type %q", header.Typeflag)}
}

func (l *layer) count() error {
	if l.entries++; l.entries > l.entriesMax {
		return &LimitError{What: "entries of the archive", Max: l.entriesMax}
	}
	return nil
}

func (l *layer) addFolder(name string, header *tar.Header) error {
	known := l.folders[name]
	if known != nil && known.listed {
		return twice(name)
	}
	if known == nil {
		var err error
		if known, err = l.makeFolder(name); err != nil {
			return err
		}
	}
	known.listed, known.modified = true, modified(header.ModTime)
	if name == "." {
		return nil // the container's home is as newLayer made it
	}
	dir, err := l.enter(path.Dir(name))
	if err != nil {
		return err
	}
	return dir.Chmod(path.Base(name), permissions(header.FileInfo().Mode())|0o700)
}

// makeFolder makes a folder that isn't there, and its parents.
func (l *layer) makeFolder(name string) (*folder, error) {
	if l.names += int64(len(name)); l.names > folderNamesMax {
		return nil, &LimitError{What: "bytes of folder names", Max: folderNamesMax}
	}
	dir, err := l.parent(name)
	if err != nil {
		return nil, err
	}
	base := path.Base(name)
	if err := dir.Mkdir(base, 0o755); err != nil {
		return nil, taken(name, err)
	}
	if err := dir.Lchown(base, vcapID, vcapID); err != nil {
		return nil, err
	}
	if err := dir.Chmod(base, 0o755); err != nil {
		return nil, err
	}
	known := &folder{}
	l.folders[name] = known
	return known, nil
}

// parent counts the entry and opens the folder that it belongs into, which is
// made if the archive has not named it.
func (l *layer) parent(name string) (*os.Root, error) {
	if err := l.count(); err != nil {
		return nil, err
	}
	dir := path.Dir(name)
	if l.folders[dir] == nil {
		_, err := l.makeFolder(dir)
		if refused, ok := errors.AsType[*EntryError](err); ok {
			reason := refused.Reason
			if reason == comesTwice {
				reason = fmt.Sprintf("passes through %q, which is not a folder", shortened(dir))
			}
			return nil, &EntryError{name, reason}
		}
		if err != nil {
			return nil, err
		}
	}
	return l.enter(dir)
}

// enter opens a folder that the layer has made.
func (l *layer) enter(dir string) (*os.Root, error) {
	if l.dir != nil && l.dirAt == dir {
		return l.dir, nil
	}
	opened, err := l.root.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	l.leave()
	l.dir, l.dirAt = opened, dir
	return opened, nil
}

func (l *layer) leave() {
	if l.dir != nil {
		l.dir.Close()
		l.dir = nil
	}
}

func (l *layer) addFile(name string, header *tar.Header, content io.Reader) error {
	if l.size += header.Size; l.size > l.sizeMax || header.Size < 0 {
		return &LimitError{What: "bytes of the unpacked archive", Max: l.sizeMax}
	}
	dir, err := l.parent(name)
	if err != nil {
		return err
	}
	mode := permissions(header.FileInfo().Mode())
	if name == startup {
		mode |= 0o500 // as the first generation's agent did
	}
	base := path.Base(name)
	file, err := dir.OpenFile(base, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return taken(name, err)
	}
	// The file is hidden behind io.Writer, because its own ReadFrom would
	// allocate a buffer for each.
	_, err = io.CopyBuffer(struct{ io.Writer }{file}, content, l.buffer)
	if err == nil {
		err = file.Chown(vcapID, vcapID)
	}
	if err == nil {
		err = file.Chmod(mode)
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("entry %q: %w", shortened(name), err)
	}
	when := modified(header.ModTime)
	return dir.Chtimes(base, when, when)
}

func (l *layer) addSymlink(name, target string) error {
	if target == "" || len(target) > targetMax {
		return &EntryError{name, "is a symbolic link to nothing, or to a name that is too long"}
	}
	dir, err := l.parent(name)
	if err != nil {
		return err
	}
	if err := dir.Symlink(target, path.Base(name)); err != nil {
		return taken(name, err)
	}
	return dir.Lchown(path.Base(name), vcapID, vcapID)
}

func (l *layer) addLink(name, rawTarget string) error {
	outside := &EntryError{name, fmt.Sprintf("is a hard link to %q, which is no file of the archive before it",
		shortened(rawTarget))}
	target, err := EntryName(rawTarget)
	if err != nil || l.folders[path.Dir(target)] == nil {
		return outside
	}
	if info, err := l.root.Lstat(target); err != nil || !info.Mode().IsRegular() {
		return outside
	}
	if _, err := l.parent(name); err != nil {
		return err
	}
	if err := l.root.Link(target, name); err != nil {
		return taken(name, err)
	}
	return nil
}

// finish makes what every droplet has, and sets the times of folders, which
// could not be set while files were added to them.
func (l *layer) finish() error {
	if l.entries == 0 {
		return errors.New("the archive is empty")
	}
	for _, name := range always {
		if l.folders[name] != nil {
			continue
		}
		_, err := l.makeFolder(name)
		if _, ok := errors.AsType[*EntryError](err); ok {
			return &EntryError{name, "has to be a folder"}
		}
		if err != nil {
			return err
		}
	}
	for name, f := range l.folders {
		if !f.listed {
			continue
		}
		if err := l.root.Chtimes(name, f.modified, f.modified); err != nil {
			return err
		}
	}
	return nil
}

const comesTwice = "comes twice, or where something else already is"

func twice(name string) error { return &EntryError{name, comesTwice} }

// taken names an entry that can't be made.
func taken(name string, err error) error {
	if errors.Is(err, fs.ErrExist) {
		return twice(name)
	}
	return fmt.Errorf("entry %q: %w", shortened(name), err)
}
