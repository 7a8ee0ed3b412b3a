package stack

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// listing is what is written of a tree, one line for each entry:
//
//	<kind> <mode> <uid> <gid> <size> <sha256> "<path>" "<target>" <attributes>
//
// without times, which mean nothing to what runs. The digest of the tree is that
// of the lines.
type listing struct {
	digest string
	files  int64
	bytes  int64 // a file that has several names counts once
}

// describe writes the listing of the tree at a path, and calls see with each line.
func list(ctx context.Context, tree string, see func(path, line string) error) (listing, error) {
	sum, seen := sha256.New(), map[inode]bool{}
	var all listing
	err := filepath.WalkDir(tree, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return &fs.PathError{Op: "stat", Path: path, Err: err}
		}
		inside := "/" + strings.TrimPrefix(strings.TrimPrefix(path, tree), "/")
		line, err := lineOf(path, inside, st)
		if err != nil {
			return err
		}
		all.files++
		if id := (inode{st.Dev, st.Ino}); st.Mode&unix.S_IFMT == unix.S_IFREG && !seen[id] {
			all.bytes += st.Size
			seen[id] = st.Nlink > 1 || seen[id]
		}
		io.WriteString(sum, line+"\n")
		return see(inside, line)
	})
	all.digest = "sha256:" + hex.EncodeToString(sum.Sum(nil))
	return all, err
}

var kinds = map[uint32]string{
	unix.S_IFDIR: "folder", unix.S_IFREG: "file", unix.S_IFLNK: "link", unix.S_IFIFO: "fifo", unix.S_IFSOCK: "socket",
	unix.S_IFCHR: "device", unix.S_IFBLK: "device",
}

func lineOf(path, inside string, st unix.Stat_t) (string, error) {
	size, sum, target := int64(0), "-", ""
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		size = st.Size
		sum, err = sumOf(path)
	case unix.S_IFLNK:
		target, err = os.Readlink(path)
	}
	if err != nil {
		return "", err
	}
	attributes, err := attributesOf(path, st)
	return fmt.Sprintf("%s %04o %d %d %d %s %s %s %s", kinds[st.Mode&unix.S_IFMT], st.Mode&0o7777, st.Uid, st.Gid,
		size, sum, strconv.Quote(inside), strconv.Quote(target), attributes), err
}

func sumOf(path string) (string, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// attributesOf are the extended ones that are kept. Few files have any.
func attributesOf(path string, st unix.Stat_t) (string, error) {
	if kind := st.Mode & unix.S_IFMT; kind != unix.S_IFREG && kind != unix.S_IFDIR {
		return "-", nil
	}
	names := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, names)
	if err == unix.ENOTSUP || err == nil && n == 0 {
		return "-", nil
	}
	if err != nil {
		return "", &fs.PathError{Op: "list attributes of", Path: path, Err: err}
	}
	var found []string
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00") {
		if !kept(name) {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return "", fmt.Errorf("read the attribute %s of %s: %w", name, path, err)
		}
		found = append(found, strconv.Quote(name)+"="+hex.EncodeToString(value[:n]))
	}
	if len(found) == 0 {
		return "-", nil
	}
	return strings.Join(found, ","), nil
}

// seal lists the tree into the file beside it, and makes the manifest of it.
func (w *workshop) seal(ctx context.Context, m Manifest) (Manifest, error) {
	file, err := os.OpenFile(w.file(filesName), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return m, err
	}
	defer file.Close()
	out := bufio.NewWriter(file)
	all, err := list(ctx, w.tree(), func(_, line string) error {
		_, err := out.WriteString(line + "\n")
		return err
	})
	if err := errors.Join(err, out.Flush()); err != nil {
		return m, err
	}
	m.Digest, m.Files, m.Bytes = all.digest, all.files, all.bytes
	return m, nil
}
