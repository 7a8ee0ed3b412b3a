package main

import (
	"strings"

	"golang.org/x/sys/unix"
)

// targetMode is that of the folders which a mount is put on.
const targetMode = 0o755

// makeFolders makes what a root file system lacks of a container's mount points.
func makeFolders(tree int, paths ...string) error {
	for _, path := range paths {
		if err := makePath(tree, path, makeFolder); err != nil {
			return err
		}
	}
	return nil
}

// makeTarget makes what a bind is to be put on, with all that leads there: a
// folder for a folder, a file for anything else.
func makeTarget(tree int, path string, source int) error {
	var st unix.Stat_t
	if err := unix.Fstat(source, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return makePath(tree, path, makeFolder)
	}
	return makePath(tree, path, makeFile)
}

// makePath makes what is missing of a path below the tree; last makes its end.
// What leads out of the tree leads nowhere (open).
func makePath(tree int, path string, last func(dir int, name string) error) error {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	for i, name := range parts {
		switch there, err := open(tree, strings.Join(parts[:i+1], "/")); err {
		case nil:
			unix.Close(there)
			continue
		case unix.ENOENT:
		default:
			return err
		}
		dir, err := open(tree, "./"+strings.Join(parts[:i], "/"))
		if err != nil {
			return err
		}
		act := makeFolder
		if i == len(parts)-1 {
			act = last
		}
		err = act(dir, name)
		unix.Close(dir)
		if err != nil {
			return err
		}
	}
	return nil
}

func makeFolder(dir int, name string) error {
	if err := unix.Mkdirat(dir, name, targetMode); err != nil {
		return err
	}
	return unix.Fchmodat(dir, name, targetMode, 0) // the umask had its say above
}

func makeFile(dir int, name string) error {
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	file, err := unix.Openat(dir, name, flags, 0o644)
	if err != nil {
		return err
	}
	return unix.Close(file)
}
