package watch

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// readMax is how many bytes of events are read at once; each has 16, because what
// is watched is no folder.
const readMax = 4096

// Watch is of one open file.
type Watch struct {
	events  *os.File
	changed chan struct{} // holds one
	moved   chan struct{} // holds one
	ended   sync.WaitGroup
}

// File watches an open file until Close. What happened before is not told.
func File(file *os.File) (*Watch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	// An unlinked file that is open tells of nothing but its number of links.
	const what = unix.IN_MODIFY | unix.IN_ATTRIB | unix.IN_MOVE_SELF | unix.IN_DELETE_SELF
	if _, err := unix.InotifyAddWatch(fd, fmt.Sprintf("/proc/self/fd/%d", file.Fd()), what); err != nil {
		return nil, errors.Join(fmt.Errorf("watch: %w", err), unix.Close(fd))
	}
	w := &Watch{
		events: os.NewFile(uintptr(fd), "inotify"), changed: make(chan struct{}, 1), moved: make(chan struct{}, 1),
	}
	w.ended.Go(w.read)
	return w, nil
}

// Changed says that the file may have more in it, or less.
func (w *Watch) Changed() <-chan struct{} { return w.changed }

// Moved says that the file may have another name, or none.
func (w *Watch) Moved() <-chan struct{} { return w.moved }

// Close ends the watch.
func (w *Watch) Close() error {
	err := w.events.Close()
	w.ended.Wait()
	return err
}

func (w *Watch) read() {
	buffer := make([]byte, readMax)
	for {
		n, err := w.events.Read(buffer)
		if err != nil {
			return // closed
		}
		for at := 0; at+unix.SizeofInotifyEvent <= n; {
			event := (*unix.InotifyEvent)(unsafe.Pointer(&buffer[at]))
			w.tell(event.Mask)
			at += unix.SizeofInotifyEvent + int(event.Len)
		}
	}
}

func (w *Watch) tell(mask uint32) {
	if mask&(unix.IN_MODIFY|unix.IN_Q_OVERFLOW) != 0 {
		signal(w.changed)
	}
	if mask&^unix.IN_MODIFY != 0 {
		signal(w.moved)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
