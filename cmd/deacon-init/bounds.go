package main

import (
	"os"
	"os/signal"
	"slices"
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
// A job's files are bounded for as long as somebody may write to them, which
// what a job started may do after its end. So only the folder is held open, and
// it is let go when nobody is left who could.
//
// It hears of writes by dnotify and not by inotify: the end of a process that
// has an inotify descriptor waits 7 to 25 ms for the kernel to be done with its
// watches, and PID 1's end is what a destroy waits for.
type bounds struct {
	jobs  []*bounded
	wrote chan os.Signal
	deaf  bool // the kernel doesn't tell of writes
	timer *time.Timer
	armed bool // the timer is running
}

// bounded is one job's output.
type bounded struct {
	folder  *os.File
	max     int64
	punched [len(outputNames)]int64 // everything before it is gone
	ended   bool                    // the job has
	over    [len(outputNames)]bool  // nobody can write to it any more
}

// outputNames are the files in the folder.
var outputNames = [...]string{"stdout", "stderr"}

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

// watchOutput takes the folder of a job's output files over. A bound of 0 is
// none.
func (c *container) watchOutput(folder *os.File, most int64) *bounded {
	if most <= 0 {
		folder.Close()
		return nil
	}
	if c.bounds == nil {
		c.bounds = &bounds{wrote: make(chan os.Signal, 1), timer: time.NewTimer(boundEvery)}
		signal.Notify(c.bounds.wrote, unix.SIGIO)
	}
	j := &bounded{folder: folder, max: most}
	c.bounds.jobs = append(c.bounds.jobs, j)
	// The first look watches: the job runs already, and may have written.
	c.bounds.soon()
	return j
}

func (b *bounds) soon() {
	if !b.armed {
		b.armed = true
		b.timer.Reset(boundEvery)
	}
}

// look asks to be told of the next write, and only of that: a chatty job wakes
// PID 1 five times a second, not once a line. It asks before it looks, so that
// no write is missed.
func (b *bounds) look() {
	b.armed = false
	b.jobs = slices.DeleteFunc(b.jobs, (*bounded).quiet)
	for _, j := range b.jobs {
		if _, err := unix.FcntlInt(j.folder.Fd(), unix.F_NOTIFY, notifyModify); err != nil {
			b.deaf = true
		}
		for i, name := range outputNames {
			j.apply(i, name)
		}
	}
	if b.deaf && len(b.jobs) > 0 {
		b.armed = true
		b.timer.Reset(pollEvery)
	}
}

func (j *bounded) apply(i int, name string) {
	file, err := unix.Openat(int(j.folder.Fd()), name, unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(file)
	var st unix.Stat_t
	if unix.Fstat(file, &st) != nil {
		return
	}
	if st.Size < j.punched[i] {
		j.punched[i] = 0 // the job truncated its own file
	}
	until := (st.Size - j.max) / blockSize * blockSize
	if until <= j.punched[i] {
		return
	}
	const punch = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
	if unix.Fallocate(file, punch, j.punched[i], until-j.punched[i]) == nil {
		j.punched[i] = until
	}
}
