package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// attachTries bounds how often a free loop device is asked for: between the
// answer and the attaching somebody else may take it.
const attachTries = 16

// attachLoop returns the loop device of the image, open, attaching it where
// nobody has. The device frees itself when its last user goes. An image that a
// living container still stands on is attached already, and attaching it twice
// would give it two caches and destroy it; so the device is looked for first.
func attachLoop(image *os.File) (*os.File, error) {
	device, err := findLoop(image)
	if device != nil || err != nil {
		return device, err
	}
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	for range attachTries {
		number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, os.NewSyscallError("LOOP_CTL_GET_FREE", err)
		}
		device, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", number), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		config := unix.LoopConfig{Fd: uint32(image.Fd())}
		config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR | unix.LO_FLAGS_DIRECT_IO
		err = unix.IoctlLoopConfigure(int(device.Fd()), &config)
		if errors.Is(err, unix.EINVAL) { // the file system below has no direct I/O
			config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
			err = unix.IoctlLoopConfigure(int(device.Fd()), &config)
		}
		if err == nil {
			return device, nil
		}
		device.Close()
		if !errors.Is(err, unix.EBUSY) {
			return nil, os.NewSyscallError("LOOP_CONFIGURE", err)
		}
	}
	return nil, errors.New("no loop device stays free long enough to be attached")
}

// findLoop finds the device whose backing file is this very image, by device
// and inode: a path may have been given to another file since.
func findLoop(image *os.File) (*os.File, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(image.Fd()), &st); err != nil {
		return nil, os.NewSyscallError("fstat", err)
	}
	attached, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return nil, err
	}
	for _, path := range attached {
		name := filepath.Base(filepath.Dir(filepath.Dir(path)))
		device, err := os.OpenFile("/dev/"+name, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		info, err := unix.IoctlLoopGetStatus64(int(device.Fd()))
		if err == nil && info.Inode == st.Ino && info.Device == st.Dev {
			return device, nil
		}
		device.Close()
	}
	return nil, nil
}
