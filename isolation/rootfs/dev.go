package rootfs

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// devices are all that a container sees of the node's.
var devices = []struct {
	name         string
	major, minor uint32
}{
	{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
}

// devLinks and devFolders are what programs expect beside them. PID 1 mounts
// the container's own file systems on the folders.
var (
	devLinks = map[string]string{
		"ptmx": "pts/ptmx", "fd": "/proc/self/fd",
		"stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	}
	devFolders = []string{"pts", "shm", "mqueue"}
)

// DevTemplate makes the node's one /dev, detached and read-only. Each container
// gets a clone of it: one mount instead of one per device.
func DevTemplate() (_ *os.File, err error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("rootfs: open tmpfs: %w", err)
	}
	defer unix.Close(fs)
	for option, value := range map[string]string{"mode": "0755", "size": "64k", "source": "deacon"} {
		if err := unix.FsconfigSetString(fs, option, value); err != nil {
			return nil, fmt.Errorf("rootfs: /dev: set %s: %w%s", option, err, kernelWords(fs))
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, fmt.Errorf("rootfs: /dev: %w%s", err, kernelWords(fs))
	}
	mount, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return nil, fmt.Errorf("rootfs: /dev: %w", err)
	}
	dev := os.NewFile(uintptr(mount), "/dev")
	if err := fillDev(mount); err != nil {
		dev.Close()
		return nil, fmt.Errorf("rootfs: /dev: %w", err)
	}
	readOnly := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(mount, "", unix.AT_EMPTY_PATH, readOnly); err != nil {
		dev.Close()
		return nil, fmt.Errorf("rootfs: /dev: make read-only: %w", err)
	}
	return dev, nil
}

func fillDev(dir int) error {
	for _, d := range devices {
		if err := unix.Mknodat(dir, d.name, unix.S_IFCHR|0o666, int(unix.Mkdev(d.major, d.minor))); err != nil {
			return fmt.Errorf("make %s: %w", d.name, err)
		}
		// The process's umask had its say above.
		if err := unix.Fchmodat(dir, d.name, 0o666, 0); err != nil {
			return fmt.Errorf("open %s to all: %w", d.name, err)
		}
	}
	for name, target := range devLinks {
		if err := unix.Symlinkat(target, dir, name); err != nil {
			return fmt.Errorf("link %s: %w", name, err)
		}
	}
	for _, name := range devFolders {
		if err := unix.Mkdirat(dir, name, 0o755); err != nil {
			return fmt.Errorf("make %s: %w", name, err)
		}
	}
	return nil
}
