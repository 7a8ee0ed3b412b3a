package disk

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The two folders of every area.
const (
	upperName = "upper"
	workName  = "work"
)

// makeArea makes the two folders below name in the folder dir.
func makeArea(dir int, name string, uid uint32) (Area, error) {
	for _, folder := range []string{upperName, workName} {
		if err := unix.Mkdirat(dir, name+"/"+folder, 0o755); err != nil {
			return Area{}, fmt.Errorf("disk: make %s of %s: %w", folder, name, err)
		}
	}
	// The upper folder's own owner and mode become those of the container's "/".
	if err := unix.Fchownat(dir, name+"/"+upperName, int(uid), int(uid), 0); err != nil {
		return Area{}, fmt.Errorf("disk: own %s: %w", name, err)
	}
	return openArea(dir, name)
}

func openArea(dir int, name string) (area Area, err error) {
	if area.Upper, err = openFolder(dir, name+"/"+upperName); err != nil {
		return Area{}, err
	}
	if area.Work, err = openFolder(dir, name+"/"+workName); err != nil {
		area.Close()
		return Area{}, err
	}
	return area, nil
}

func openFolder(dir int, path string) (*os.File, error) {
	fd, err := unix.Openat(dir, path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("disk: open %s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}
