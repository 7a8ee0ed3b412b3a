package main

import (
	"slices"

	"golang.org/x/sys/unix"
)

// ended says that a job's first process is dead. Mostly that was all of it, and
// then its output is done with.
func (b *bounds) ended(j *bounded) {
	if j == nil {
		return
	}
	j.ended = true
	for i, name := range outputNames {
		j.apply(i, name) // what it wrote since the last look
	}
	if j.quiet() {
		b.jobs = slices.DeleteFunc(b.jobs, func(other *bounded) bool { return other == j })
	}
}

// orphanDied says that a process ended that was no job's first: it may have
// been the last that could write to the output of one.
func (b *bounds) orphanDied() {
	if b.left() > 0 {
		b.soon()
	}
}

// left is how many jobs have ended whose output is still bounded.
func (b *bounds) left() (n int) {
	if b == nil {
		return 0
	}
	for _, j := range b.jobs {
		if j.ended {
			n++
		}
	}
	return n
}

// quiet says whether a job has ended and nobody can write to its output any
// more; then it is let go.
func (j *bounded) quiet() bool {
	if !j.ended {
		return false
	}
	if unix.Kill(-1, 0) != unix.ESRCH { // somebody lives beside PID 1
		for i, name := range outputNames {
			j.over[i] = j.over[i] || j.seal(name)
		}
		if slices.Contains(j.over[:], false) {
			return false
		}
	}
	j.folder.Close()
	return true
}

// seal makes sure that nobody writes to a file, and that nobody but the
// container's root can begin to: a process may know it by a descriptor for
// reading, or by one for nothing at all. Whether it is open for writing is what
// the kernel looks at before it gives a lease to the file's owner.
func (j *bounded) seal(name string) bool {
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	file, err := unix.Openat(int(j.folder.Fd()), name, flags, 0)
	if err == unix.ENOENT {
		return true // the agent has forgotten the job, and made sure itself
	}
	if err != nil {
		return false
	}
	defer unix.Close(file) // and gives the lease back
	var st unix.Stat_t
	if unix.Fstat(file, &st) != nil || unix.Fchown(file, 0, 0) != nil {
		return false
	}
	if _, err := unix.FcntlInt(uintptr(file), unix.F_SETLEASE, unix.F_RDLCK); err != nil {
		unix.Fchown(file, int(st.Uid), int(st.Gid))
		return false
	}
	return true
}
