package directory

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"
)

const (
	// gatherFor is how long what was written waits for more.
	gatherFor = 50 * time.Millisecond
	// lookEvery is how often a file is looked at that nothing is told of: where it
	// can't be watched that is all that is known.
	lookEvery = time.Second
)

// tail sends what is written to a file, as it is written.
func (d *Door) tail(w *paced, r *http.Request, file *os.File) {
	offset, err := tailOffset(r, file)
	if err != nil {
		plainly(w, http.StatusInternalServerError, "Can't serve request due to error: "+err.Error())
		return
	}
	select {
	case d.followers <- struct{}{}:
		defer func() { <-d.followers }()
	default:
		w.Header().Set("Retry-After", "10")
		plainly(w, http.StatusServiceUnavailable, "Can't serve request due to error: too many files are followed")
		return
	}
	f, err := d.follow(w, file, offset)
	if err != nil {
		failed(w, err)
		return
	}
	defer f.close()
	w.Header().Set("Content-Type", "text/plain")
	if r.Method == http.MethodHead {
		return
	}
	if !f.run(r.Context().Done(), d.config.Silence) {
		panic(http.ErrAbortHandler) // cuts the connection: that was not the end
	}
}

// tailOffset is where a follower begins: at the end where it says nothing.
func tailOffset(r *http.Request, file *os.File) (int64, error) {
	values, given := r.URL.Query()["tail_offset"]
	if !given {
		return file.Seek(0, io.SeekEnd)
	}
	offset, err := strconv.ParseInt(values[0], 10, 64)
	if err != nil || offset < 0 {
		return 0, errors.New("tail_offset must be a whole number of bytes")
	}
	return offset, nil
}

// follower is one client of one file.
type follower struct {
	w       *paced
	file    *os.File
	at      string // where the kernel says the file is
	offset  int64
	size    int64 // when it was looked at last
	watch   Watch // nil: it can't be watched
	changed <-chan struct{}
	moved   <-chan struct{}
	buffer  []byte
}

func (d *Door) follow(w *paced, file *os.File, offset int64) (*follower, error) {
	f := &follower{w: w, file: file, offset: offset, buffer: make([]byte, 32<<10)}
	var err error
	if f.watch, err = d.files.Watch(file); err == nil {
		f.changed, f.moved = f.watch.Changed(), f.watch.Moved()
	} else {
		d.log.Debug("a file can't be watched and is looked at", "every", lookEvery, "reason", err)
	}
	f.at, err = place(file)
	return f, err
}

func (f *follower) close() {
	if f.watch != nil {
		f.watch.Close() // there is nothing to be done about it
	}
}

// place is where the kernel says an open file is; it becomes another with its
// name, and with the end of that.
func place(file *os.File) (string, error) {
	return os.Readlink("/proc/self/fd/" + strconv.Itoa(int(file.Fd())))
}

// run sends until the file has lost its place or the client has left; false: until
// nothing came for too long.
func (f *follower) run(gone <-chan struct{}, silence time.Duration) bool {
	quiet, look := time.NewTimer(silence), time.NewTicker(lookEvery)
	defer quiet.Stop()
	defer look.Stop()
	if f.w.flush() != nil {
		return true
	}
	for {
		moved := f.hasMoved() // before, so that the last of it is sent
		sent, err := f.send()
		if err != nil || moved {
			return true
		}
		if sent {
			quiet.Reset(silence)
		}
		for due := (<-chan time.Time)(nil); ; {
			select {
			case <-f.changed:
				if due == nil {
					due = time.After(gatherFor)
				}
				continue
			case <-due:
			case <-f.moved:
			case <-look.C:
			case <-quiet.C:
				return false
			case <-gone:
				return true
			}
			break
		}
	}
}

func (f *follower) hasMoved() bool {
	at, err := place(f.file)
	return err != nil || at != f.at
}

// send sends what there is beyond the offset. A file that became shorter is read
// from its beginning; one that never was as long is waited for.
func (f *follower) send() (sent bool, err error) {
	info, err := f.file.Stat()
	if err != nil {
		return false, err
	}
	if info.Size() < f.size {
		f.offset = 0
	}
	f.size = info.Size()
	for {
		n, err := f.file.ReadAt(f.buffer, f.offset)
		if n > 0 {
			if _, err := f.w.Write(f.buffer[:n]); err != nil {
				return sent, err
			}
			f.offset, sent = f.offset+int64(n), true
		}
		if err == nil {
			continue
		}
		if errors.Is(err, io.EOF) && sent {
			return sent, f.w.flush()
		}
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		return sent, err
	}
}
