package rootfs

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Layer makes a detached copy of the mount at path and below it: shifted into
// userns where that is given, without devices and setuid programs.
func Layer(path string, userns *os.File, readOnly bool) (*os.File, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("rootfs: open tree %s: %w", path, err)
	}
	mount := os.NewFile(uintptr(fd), path)
	attributes := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if readOnly {
		attributes.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if userns != nil {
		attributes.Attr_set |= unix.MOUNT_ATTR_IDMAP
		attributes.Userns_fd = uint64(userns.Fd())
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attributes); err != nil {
		mount.Close()
		return nil, fmt.Errorf("rootfs: set attributes of %s: %w", path, err)
	}
	return mount, nil
}

// Clone makes another detached copy of a detached mount.
func Clone(mount *os.File) (*os.File, error) {
	const flags = unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_EMPTY_PATH
	fd, err := unix.OpenTree(int(mount.Fd()), "", flags)
	if err != nil {
		return nil, fmt.Errorf("rootfs: clone %s: %w", mount.Name(), err)
	}
	return os.NewFile(uintptr(fd), mount.Name()), nil
}

// Overlay stacks layers, topmost first, under the folder upper, where writes
// go. It is mounted volatile: the upper folder's file system is not synced when
// the last process goes, because after a power failure it is thrown away.
func Overlay(layers []*os.File, upper, work *os.File) (*os.File, error) {
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("rootfs: open overlay: %w", err)
	}
	defer unix.Close(fs)
	failed := func(what string, err error) (*os.File, error) {
		return nil, fmt.Errorf("rootfs: overlay: %s: %w%s", what, err, kernelWords(fs))
	}
	if err := lowers(fs, layers); err != nil {
		return failed("set the layers", err)
	}
	for option, folder := range map[string]*os.File{"upperdir": upper, "workdir": work} {
		if err := setFolder(fs, option, folder); err != nil {
			return failed("set "+option, err)
		}
	}
	if err := unix.FsconfigSetFlag(fs, "volatile"); err != nil {
		return failed("set volatile", err)
	}
	if err := unix.FsconfigSetString(fs, "source", "deacon"); err != nil {
		return failed("set the source", err)
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return failed("create", err)
	}
	mount, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return failed("mount", err)
	}
	return os.NewFile(uintptr(mount), "root"), nil
}

// lowers gives the layers as descriptors where the kernel takes them (6.13),
// else by the paths of the descriptors.
func lowers(fs int, layers []*os.File) error {
	for i, layer := range layers {
		err := unix.FsconfigSetFd(fs, "lowerdir+", int(layer.Fd()))
		if takesNoDescriptor(err) && i == 0 {
			return unix.FsconfigSetString(fs, "lowerdir", joinPaths(layers))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func setFolder(fs int, option string, folder *os.File) error {
	err := unix.FsconfigSetFd(fs, option, int(folder.Fd()))
	if takesNoDescriptor(err) {
		return unix.FsconfigSetString(fs, option, descriptorPath(folder))
	}
	return err
}

// takesNoDescriptor says how older kernels refuse: those before 6.5 know only
// strings of an overlay, those before 6.13 know the option and not its kind.
func takesNoDescriptor(err error) bool { return err == unix.EINVAL || err == unix.EOPNOTSUPP }

func joinPaths(layers []*os.File) string {
	paths := make([]string, len(layers))
	for i, layer := range layers {
		paths[i] = descriptorPath(layer)
	}
	return strings.Join(paths, ":")
}

func descriptorPath(file *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(file.Fd())) }

// kernelWords reads what the kernel has to say of a file system that failed;
// without them every mistake is "invalid argument".
func kernelWords(fs int) string {
	var words strings.Builder
	buffer := make([]byte, 1024)
	for {
		n, err := unix.Read(fs, buffer)
		if err != nil || n <= 0 {
			break
		}
		words.WriteString("; " + strings.TrimSpace(string(buffer[:n])))
	}
	return words.String()
}
