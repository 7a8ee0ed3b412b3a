package output

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// Follower tells of changes of files, by one inotify for the whole node: an
// idle file costs two descriptors' worth of kernel memory and the goroutine
// that waits in Follow.
type Follower struct {
	inotify *os.File
	ended   chan struct{} // closed when nobody is told of changes any more

	mu      sync.Mutex
	waiting map[int32][]chan<- struct{} // by watch descriptor
}

// ErrClosed says that the follower was closed while it was in use.
var ErrClosed = errors.New("output: the follower is closed")

// NewFollower makes a follower; Close ends it.
func NewFollower() (*Follower, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("output: open inotify: %w", err)
	}
	f := &Follower{
		inotify: os.NewFile(uintptr(fd), "inotify"),
		ended:   make(chan struct{}),
		waiting: map[int32][]chan<- struct{}{},
	}
	go f.listen()
	return f, nil
}

// Close ends every Follow with ErrClosed.
func (f *Follower) Close() error {
	err := f.inotify.Close()
	<-f.ended
	return err
}

// eventsMax is how many bytes of events are taken at once: 256 of them, as
// events of files carry no name.
const eventsMax = 256 * unix.SizeofInotifyEvent

func (f *Follower) listen() {
	defer close(f.ended)
	events := make([]byte, eventsMax)
	for {
		n, err := f.inotify.Read(events)
		if err != nil {
			return // closed; inotify has no other error to give
		}
		f.tell(events[:n])
	}
}

func (f *Follower) tell(events []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(events) >= unix.SizeofInotifyEvent {
		watch := int32(binary.NativeEndian.Uint32(events[0:]))
		mask := binary.NativeEndian.Uint32(events[4:])
		name := binary.NativeEndian.Uint32(events[12:])
		events = events[unix.SizeofInotifyEvent+int(name):]
		if mask&unix.IN_Q_OVERFLOW == 0 {
			wake(f.waiting[watch])
			continue
		}
		// Events were lost, nobody knows whose: everybody looks.
		for _, waiters := range f.waiting {
			wake(waiters)
		}
	}
}

func wake(waiters []chan<- struct{}) {
	for _, waiter := range waiters {
		select {
		case waiter <- struct{}{}:
		default: // has not yet looked since it was last woken
		}
	}
}

// watch has waiter woken when one of the streams in dir changes. The returned
// function ends that.
func (f *Follower) watch(dir string, waiter chan<- struct{}) (stop func(), err error) {
	var watches []int32
	stop = func() {
		for _, w := range watches {
			f.unwatch(w, waiter)
		}
	}
	for _, stream := range Streams {
		w, err := f.add(filepath.Join(dir, stream), waiter)
		if err != nil {
			stop()
			return nil, fmt.Errorf("output: watch %s: %w", stream, err)
		}
		watches = append(watches, w)
	}
	return stop, nil
}

func (f *Follower) add(path string, waiter chan<- struct{}) (int32, error) {
	// The lock is held over the call, so that no event of the watch comes
	// before its waiter is known.
	f.mu.Lock()
	defer f.mu.Unlock()
	var watch int
	err := f.control(func(fd int) (err error) {
		watch, err = unix.InotifyAddWatch(fd, path, unix.IN_MODIFY)
		return err
	})
	if errors.Is(err, unix.ENOSPC) {
		return 0, fmt.Errorf("no inotify watch left (fs.inotify.max_user_watches): %w", err)
	}
	if err != nil {
		return 0, err
	}
	f.waiting[int32(watch)] = append(f.waiting[int32(watch)], waiter)
	return int32(watch), nil
}

// unwatch takes the waiter away, and the watch with the last one.
func (f *Follower) unwatch(watch int32, waiter chan<- struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	same := func(other chan<- struct{}) bool { return other == waiter }
	waiters := slices.DeleteFunc(f.waiting[watch], same)
	if len(waiters) > 0 {
		f.waiting[watch] = waiters
		return
	}
	delete(f.waiting, watch)
	// An error means that the file or the follower went first.
	_ = f.control(func(fd int) error {
		_, err := unix.InotifyRmWatch(fd, uint32(watch))
		return err
	})
}

func (f *Follower) control(act func(fd int) error) error {
	raw, err := f.inotify.SyscallConn()
	if err != nil {
		return ErrClosed
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = act(int(fd)) }); err != nil {
		return ErrClosed
	}
	return failed
}
