package main

import (
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// boundEvery is how soon after a write the files' sizes are looked at. Between
// two looks a job can write past its bound; nothing wakes up while none writes.
const boundEvery = 200 * time.Millisecond

// pollEvery is how often they are looked at on a kernel that doesn't tell of
// writes.
const pollEvery = time.Second

// notifyModify is DN_MODIFY of linux/fcntl.h: tell once, of the next write.
const notifyModify = 2

// blockSize is what holes are rounded to.
const blockSize = 4096

// bounds keeps the jobs' output files short: what is older than the last
// OutputMax bytes is punched out, so the file's end stays where the job, the
// agent and everybody's offsets expect it.
//
// It hears of writes by dnotify and not by inotify: the end of a process that
// has an inotify descriptor waits 7 to 25 ms for the kernel to be done with its
// watches, and PID 1's end is what a destroy waits for.
type bounds struct {
	files   []*bounded
	folders []*os.File // one for each job
	wrote   chan os.Signal
	deaf    bool // the kernel doesn't tell of writes
	timer   *time.Timer
}

type bounded struct {
	file    *os.File
	max     int64
	punched int64 // everything before it is gone
}

// written is ready when the kernel told of a write.
func (b *bounds) written() <-chan os.Signal {
	if b == nil {
		return nil
	}
	return b.wrote
}

// due is ready a moment after that.
func (b *bounds) due() <-chan time.Time {
	if b == nil {
		return nil
	}
	return b.timer.C
}

// watchOutput takes a job's output files over, and the folder that they are
// in. A bound of 0 is none.
func (c *container) watchOutput(files []*os.File, folder *os.File, most int64) {
	if most <= 0 {
		closeAll(append(files, folder))
		return
	}
	if c.bounds == nil {
		c.bounds = &bounds{wrote: make(chan os.Signal, 1), timer: time.NewTimer(boundEvery)}
		signal.Notify(c.bounds.wrote, unix.SIGIO)
	}
	for _, file := range files {
		c.bounds.files = append(c.bounds.files, &bounded{file: file, max: most})
	}
	c.bounds.folders = append(c.bounds.folders, folder)
	// The first look watches: the job runs already, and may have written.
	c.bounds.soon()
}

func (b *bounds) soon() { b.timer.Reset(boundEvery) }

// look asks to be told of the next write, and only of that: a chatty job wakes
// PID 1 five times a second, not once a line. It asks before it looks, so that
// no write is missed.
func (b *bounds) look() {
	for _, folder := range b.folders {
		if _, err := unix.FcntlInt(folder.Fd(), unix.F_NOTIFY, notifyModify); err != nil {
			b.deaf = true
		}
	}
	for _, f := range b.files {
		f.apply()
	}
	if b.deaf {
		b.timer.Reset(pollEvery)
	}
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
