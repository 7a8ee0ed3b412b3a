package main

import (
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// boundEvery is how soon after a write the files' sizes are looked at. Between
// two looks a job can write past its bound; nothing wakes up while none writes.
const boundEvery = 200 * time.Millisecond

// blockSize is what holes are rounded to.
const blockSize = 4096

// bounds keeps the jobs' output files short: what is older than the last
// OutputMax bytes is punched out, so the file's end stays where the job, the
// agent and everybody's offsets expect it.
type bounds struct {
	files   []*bounded
	notify  *os.File // inotify, one-shot watches
	watcher int      // its descriptor: File.Fd would make it block
	timer   *time.Timer
}

type bounded struct {
	file    *os.File
	max     int64
	punched int64 // everything before it is gone
}

// due is ready when something was written a moment ago.
func (b *bounds) due() <-chan time.Time {
	if b == nil {
		return nil
	}
	return b.timer.C
}

// watchOutput takes the output files over. A bound of 0 is none.
func (c *container) watchOutput(files []*os.File, most int64) {
	if most <= 0 {
		closeAll(files)
		return
	}
	if c.bounds == nil {
		c.bounds = newBounds()
	}
	for _, file := range files {
		c.bounds.files = append(c.bounds.files, &bounded{file: file, max: most})
	}
	c.bounds.arm()
}

func newBounds() *bounds {
	b := &bounds{timer: time.NewTimer(time.Hour)}
	if fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK); err == nil {
		b.notify, b.watcher = os.NewFile(uintptr(fd), "inotify"), fd
		go b.wait()
	}
	return b
}

// wait turns the first write after arm into a look soon afterwards. Timer.Reset
// is safe beside the main goroutine's receive.
func (b *bounds) wait() {
	buffer := make([]byte, 512)
	for {
		if _, err := b.notify.Read(buffer); err != nil {
			return
		}
		b.timer.Reset(boundEvery)
	}
}

// arm watches for the next write only: a chatty job wakes PID 1 five times a
// second, not once a line.
func (b *bounds) arm() {
	if b.notify == nil {
		b.timer.Reset(boundEvery)
		return
	}
	for _, f := range b.files {
		path := "/proc/self/fd/" + strconv.Itoa(int(f.file.Fd()))
		unix.InotifyAddWatch(b.watcher, path, unix.IN_MODIFY|unix.IN_ONESHOT)
	}
}

func (b *bounds) apply() {
	for _, f := range b.files {
		f.apply()
	}
	b.arm()
}

func (f *bounded) apply() {
	var st unix.Stat_t
	if unix.Fstat(int(f.file.Fd()), &st) != nil {
		return
	}
	if st.Size < f.punched {
		f.punched = 0 // the job truncated its own file
	}
	until := (st.Size - f.max) / blockSize * blockSize
	if until <= f.punched {
		return
	}
	err := unix.Fallocate(int(f.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, f.punched, until-f.punched)
	if err == nil {
		f.punched = until
	}
}
