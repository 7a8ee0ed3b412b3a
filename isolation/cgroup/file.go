package cgroup

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// open opens a file of a group, and makes none where a controller lacks it. Not
// os.OpenFile: it has the runtime's poller watch the file, which costs as much
// again, and nobody waits for these.
func open(dir, file string, flags int) (*os.File, error) {
	path := filepath.Join(dir, file)
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
	for err == unix.EINTR {
		fd, err = unix.Open(path, flags|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("cgroup: %w", &fs.PathError{Op: "open", Path: path, Err: err})
	}
	return os.NewFile(uintptr(fd), path), nil
}

// read reads a file of a group whole.
func read(dir, file string) ([]byte, error) {
	f, err := open(dir, file, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	return content, nil
}

// write writes a value whole, as the kernel wants it.
func write(dir, file, value string) error {
	f, err := open(dir, file, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteString(value); err != nil {
		return fmt.Errorf("cgroup: write %q: %w", value, err)
	}
	return nil
}
