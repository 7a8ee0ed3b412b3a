package stack

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// inode is what names of the same file have in common.
type inode struct{ dev, ino uint64 }

// copying turns a folder into the entries that a tar of it would have.
type copying struct {
	w     *writer
	from  string
	dev   uint64
	links map[inode]string // the first name of a file that has several
}

// copyFolder writes what is in a folder, of the file system that it lies on.
func (w *writer) copyFolder(ctx context.Context, from string) error {
	var top unix.Stat_t
	if err := unix.Stat(from, &top); err != nil {
		return &fs.PathError{Op: "stat", Path: from, Err: err}
	}
	c := copying{w, from, top.Dev, map[inode]string{}}
	return filepath.WalkDir(from, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		return c.entry(path)
	})
}

func (c copying) entry(path string) error {
	name, err := filepath.Rel(c.from, path)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if name == "." {
		err = unix.Stat(path, &st) // the folder may be given by a link
	} else {
		err = unix.Lstat(path, &st)
	}
	if err != nil {
		return &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	h := &tar.Header{
		Name: name, Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid),
		ModTime: time.Unix(st.Mtim.Unix()), PAXRecords: map[string]string{},
	}
	if err := c.attributes(path, h); err != nil {
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		h.Typeflag = tar.TypeDir
		if err := c.w.add(h, nil); err != nil || st.Dev == c.dev {
			return err
		}
		c.w.odd["mount points are empty: what is mounted there was left out"]++
		return fs.SkipDir
	case unix.S_IFREG:
		return c.file(path, h, st)
	case unix.S_IFLNK:
		h.Typeflag = tar.TypeSymlink
		h.Linkname, err = os.Readlink(path)
	case unix.S_IFIFO:
		h.Typeflag = tar.TypeFifo
	case unix.S_IFSOCK:
		c.w.odd["sockets are left out"]++
		return nil
	default:
		h.Typeflag = tar.TypeChar
	}
	if err != nil {
		return err
	}
	return c.w.add(h, nil)
}

func (c copying) file(path string, h *tar.Header, st unix.Stat_t) error {
	if st.Nlink > 1 {
		id := inode{st.Dev, st.Ino}
		if first, known := c.links[id]; known {
			h.Typeflag, h.Linkname = tar.TypeLink, first
			return c.w.add(h, nil)
		}
		c.links[id] = h.Name
	}
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	h.Typeflag, h.Size = tar.TypeReg, st.Size
	return c.w.add(h, io.LimitReader(file, st.Size))
}

// attributes reads the extended ones into the header.
func (c copying) attributes(path string, h *tar.Header) error {
	names := make([]byte, 64<<10) // the kernel's own bound
	n, err := unix.Llistxattr(path, names)
	if err == unix.ENOTSUP {
		return nil
	}
	if err != nil {
		return &fs.PathError{Op: "list attributes of", Path: path, Err: err}
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return fmt.Errorf("read the attribute %s of %s: %w", name, path, err)
		}
		h.PAXRecords[xattrPrefix+name] = string(value[:n])
	}
	return nil
}
