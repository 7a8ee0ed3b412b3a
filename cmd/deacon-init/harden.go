package main

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation/initproto"
)

// hardenAfter is when a job's limit of the stack is made a hard one again, counted
// from its start: soon after most execs, and after those on a machine that is busy.
var hardenAfter = [...]time.Duration{20 * time.Millisecond, 2 * time.Second}

// hardening is what is still to be done for the limits of jobs' stacks. An exec ends
// with them as they were when it began, nothing tells when it ends, and what was set
// meanwhile (limitProcess) is gone.
type hardening struct {
	timer *time.Timer // nil: there never was a job that asked
	left  []hardenJob
}

type hardenJob struct {
	job  initproto.Job
	pid  int
	due  time.Time
	next int // of hardenAfter
}

// soon is for a job that has just been started.
func (h *hardening) soon(pid int, j initproto.Job) {
	if _, asked := limitOf(j, unix.RLIMIT_STACK); !asked {
		return
	}
	h.left = append(h.left, hardenJob{
		job: initproto.Job{Rlimits: j.Rlimits}, pid: pid, due: time.Now().Add(hardenAfter[0]),
	})
	h.wind()
}

// due is nil, and so never ready, while there is nothing to be done.
func (h *hardening) due() <-chan time.Time {
	if len(h.left) == 0 {
		return nil
	}
	return h.timer.C
}

// look does what is due. Whoever has ended was taken off by ended: until then its pid
// is nobody else's.
func (h *hardening) look(now time.Time) {
	var left []hardenJob
	for _, one := range h.left {
		if !now.Before(one.due) {
			limitProcess(one.pid, one.job)
			if one.next++; one.next == len(hardenAfter) {
				continue
			}
			one.due = one.due.Add(hardenAfter[one.next] - hardenAfter[one.next-1])
		}
		left = append(left, one)
	}
	h.left = left
	h.wind()
}

// ended forgets a job that was buried.
func (h *hardening) ended(pid int) {
	for i, one := range h.left {
		if one.pid == pid {
			h.left = append(h.left[:i], h.left[i+1:]...)
			return
		}
	}
}

// wind sets the timer to the first that is due.
func (h *hardening) wind() {
	if len(h.left) == 0 {
		return
	}
	first := h.left[0].due
	for _, one := range h.left[1:] {
		if one.due.Before(first) {
			first = one.due
		}
	}
	if h.timer == nil {
		h.timer = time.NewTimer(time.Until(first))
		return
	}
	h.timer.Reset(time.Until(first)) // as of Go 1.23 nothing stale is in the channel
}
