package main

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/cmd/deacon-init/inherited"
	"github.com/deacon-agent/deacon/isolation/initproto"
)

// limitOf is what a job asks of one resource; the last word counts.
func limitOf(j initproto.Job, resource int) (value uint64, asked bool) {
	for _, r := range j.Rlimits {
		if r.Resource == uint32(resource) {
			value, asked = r.Value, true
		}
	}
	return value, asked
}

// softFiles is the soft limit of files that a job begins with.
func softFiles(j initproto.Job) uint64 {
	if files, asked := limitOf(j, unix.RLIMIT_NOFILE); asked {
		return files
	}
	return inherited.Files.Cur
}

// forkFiles is how many descriptors a fork needs beside those that are open.
const forkFiles = 16

// lowerLimits gives PID 1 the job's soft limit of files for as long as the fork
// takes, so that the job never runs a moment without it. A hard limit lowered
// here could never be raised again for the next job; limitProcess sets the
// job's. PID 1 itself has to live with it, so it is never below what it has
// open. That is why nothing else is limited here: PID 1's own memory and
// threads, and all of the container's root, count against those limits.
func lowerLimits(j initproto.Job) (restore func()) {
	var now syscall.Rlimit
	next, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0) // the lowest that is free
	if err != nil || syscall.Getrlimit(unix.RLIMIT_NOFILE, &now) != nil {
		return func() {}
	}
	unix.Close(next)
	// syscall's own function: after it the runtime no longer gives a child
	// the limit of files that this process was started with.
	soft := min(max(softFiles(j), uint64(next+forkFiles)), now.Max)
	syscall.Setrlimit(unix.RLIMIT_NOFILE, &syscall.Rlimit{Cur: soft, Max: now.Max})
	return func() { syscall.Setrlimit(unix.RLIMIT_NOFILE, &now) }
}

// lendable are the limits that PID 1 can live with for as long as a fork takes:
// it makes no core, locks no memory, opens no message queue, has few processes,
// and its stacks are the runtime's.
var lendable = map[int]bool{
	unix.RLIMIT_CORE: true, unix.RLIMIT_LOCKS: true, unix.RLIMIT_MEMLOCK: true, unix.RLIMIT_MSGQUEUE: true,
	unix.RLIMIT_NICE: true, unix.RLIMIT_NPROC: true, unix.RLIMIT_RSS: true, unix.RLIMIT_RTPRIO: true,
	unix.RLIMIT_SIGPENDING: true, unix.RLIMIT_STACK: true,
}

// lendLimits gives PID 1 the job's soft limits, beside that of files, for as
// long as the fork takes, so that the job's program begins with them; limitProcess
// makes them hard ones a moment after. That saves the millisecond that it takes the job to set
// them itself. False: it asks for one that PID 1 can't live with.
func lendLimits(j initproto.Job) (restore func(), lent bool) {
	before := map[int]unix.Rlimit{}
	restore = func() {
		for resource, limit := range before {
			unix.Prlimit(0, resource, &limit, nil)
		}
	}
	for _, r := range j.Rlimits {
		resource := int(r.Resource)
		var now unix.Rlimit
		if resource == unix.RLIMIT_NOFILE || unix.Prlimit(0, resource, nil, &now) != nil {
			continue
		}
		value, _ := limitOf(j, resource)
		soft := min(value, now.Max)
		switch {
		case soft == now.Cur:
			continue
		case !lendable[resource]:
			return restore, false
		}
		if _, known := before[resource]; !known {
			before[resource] = now
		}
		unix.Prlimit(0, resource, &unix.Rlimit{Cur: soft, Max: now.Max}, nil)
	}
	return restore, true
}

// limitProcess makes a job's limits hard ones from outside, a moment after its
// exec; the calling process where pid is 0. What is refused is not set.
func limitProcess(pid int, j initproto.Job) {
	for _, r := range j.Rlimits {
		resource := int(r.Resource)
		limit, _ := limitOf(j, resource)
		var now unix.Rlimit
		if err := unix.Prlimit(pid, resource, nil, &now); err != nil {
			continue // it has ended already, or this kernel doesn't know the resource
		}
		// Nobody in a user namespace may raise a hard limit.
		limit = min(limit, now.Max)
		unix.Prlimit(pid, resource, &unix.Rlimit{Cur: limit, Max: limit}, nil)
	}
}

// limitSelf is limitProcess for a process that is about to be the job. It takes
// back what the runtime did to the limit of files at its start.
func limitSelf(j initproto.Job) {
	var now unix.Rlimit
	if unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &now) == nil {
		unix.Prlimit(0, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: min(softFiles(j), now.Max), Max: now.Max}, nil)
	}
	limitProcess(0, j)
}
