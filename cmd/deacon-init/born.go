package main

import (
	"errors"
	"io"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation/initproto"
)

// handoverDescriptor is where the third mode finds PID 1, which tells it the job
// and hears what went wrong. It closes by itself when the job's program is
// executed.
const handoverDescriptor = 3

// bear starts the job's first process as this program again, which takes on all
// that a job inherits, limits too, and then becomes the job. Where only a clone
// leads into the jobs' group (cgroup v2) there is no other way: that clone is
// clone3, which the job's filter refuses, so the child is born without the
// filter.
func (c *container) bear(j initproto.Job, files []*os.File) (int, string, error) {
	ends, err := handover()
	if err != nil {
		return 0, "make the hand-over", err
	}
	defer unix.Close(ends[0])
	pid, err := syscall.ForkExec("/proc/self/exe", []string{processName, "job"}, &syscall.ProcAttr{
		Dir:   "/",
		Env:   []string{"GOMAXPROCS=1", "GOGC=off"},
		Files: []uintptr{files[0].Fd(), files[1].Fd(), files[2].Fd(), uintptr(ends[1])},
		Sys:   c.bornInto(),
	})
	unix.Close(ends[1])
	if err != nil {
		return 0, "clone into the jobs' cgroup", err
	}
	if step, err := c.handOver(ends[0], pid, j); err != nil {
		unix.Kill(pid, unix.SIGKILL) // reaped like every orphan
		return 0, step, err
	}
	return pid, "", nil
}

// handover is what PID 1 and the child speak over: two ends that block. A
// runtime that has only just begun would make a poller for anything else, and a
// thread to wait by.
func handover() (ends [2]int, err error) {
	ends, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		// Room for a message of the greatest size.
		unix.SetsockoptInt(ends[0], unix.SOL_SOCKET, unix.SO_SNDBUF, 2*initproto.MessageMax)
		unix.SetsockoptTimeval(ends[0], unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1})
	}
	return ends, err
}

// receive waits for one message; end of file is io.EOF.
func receive(end int) ([]byte, error) {
	for {
		size, _, err := unix.Recvfrom(end, nil, unix.MSG_PEEK|unix.MSG_TRUNC)
		if err == unix.EINTR {
			continue
		}
		if err == unix.ECONNRESET || err == nil && size == 0 {
			return nil, io.EOF
		}
		if err != nil {
			return nil, err
		}
		message := make([]byte, size)
		n, _, err := unix.Recvfrom(end, message, 0)
		return message[:max(n, 0)], err
	}
}

func send(end int, message []byte) error {
	for {
		if err := unix.Sendto(end, message, unix.MSG_NOSIGNAL, nil); err != unix.EINTR {
			return err
		}
	}
}

func (c *container) bornInto() *syscall.SysProcAttr {
	if c.setup.Join == initproto.JoinClone {
		return &syscall.SysProcAttr{Setsid: true, UseCgroupFD: true, CgroupFD: int(c.joins[0].Fd())}
	}
	return &syscall.SysProcAttr{Setsid: true}
}

// errEarly says that the child was killed, or found no room to run in.
var errEarly = errors.New("it ended before its program was executed")

// handOver tells the child its job and waits until it is that job: the child
// says that it is ready, and then its end closes or it says what failed.
func (c *container) handOver(child, pid int, j initproto.Job) (string, error) {
	const step = "make the child the job"
	filter := initproto.Setup{Filter: c.setup.Filter, Join: c.setup.Join}
	// Two messages: together they may be longer than one may be.
	for _, message := range [][]byte{filter.Encode(), initproto.Spawn{Job: j}.Encode()} {
		if err := send(child, message); err != nil && err != unix.EPIPE {
			return step, err
		}
	}
	for ready := false; ; {
		answer, err := receive(child)
		switch {
		case err == unix.EAGAIN:
			unix.Kill(pid, unix.SIGCONT) // others of its user may stop it as soon as it is that
			continue
		case err == io.EOF && ready:
			return "", nil
		case err == io.EOF:
			return step, errEarly
		case err != nil:
			return step, err
		}
		if failed, err := initproto.DecodeFailed(answer); err == nil {
			return failed.Step, errors.New(failed.Text)
		}
		ready = true
	}
}

// born is the third mode's main: the main goroutine has the main thread to
// itself, and execve makes that thread all there is of the process.
func born() {
	// As PID 1: it has more rights than a job's root, until it is the job.
	unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	// All that came along is this program's alone, whoever left it open.
	unix.CloseRange(handoverDescriptor, ^uint(0)>>32, unix.CLOSE_RANGE_CLOEXEC)
	setup, j, err := takeOver()
	if err != nil {
		os.Exit(1) // PID 1 is gone, and so is everything
	}
	step, err := become(j, setup, func() error {
		return send(handoverDescriptor, initproto.Started{Number: j.Number}.Encode(initproto.KindSpawned))
	})
	send(handoverDescriptor, initproto.Failed{Job: j.Number, Step: step, Text: err.Error()}.Encode())
	os.Exit(1)
}

func takeOver() (setup initproto.Setup, j initproto.Job, err error) {
	message, err := receive(handoverDescriptor)
	if err != nil {
		return setup, j, err
	}
	if setup, err = initproto.DecodeSetup(message); err != nil {
		return setup, j, err
	}
	if message, err = receive(handoverDescriptor); err != nil {
		return setup, j, err
	}
	spawn, err := initproto.DecodeSpawn(message)
	return setup, spawn.Job, err
}

// become calls ready once only the execs are left, and returns only what went wrong.
func become(j initproto.Job, setup initproto.Setup, ready func() error) (string, error) {
	// Programs are looked for with PID 1's rights, as on v1.
	program, err := prepare(j.Argv, j.Env)
	var fallback exec
	if err == nil && len(j.Fallback) > 0 {
		fallback, err = prepare(j.Fallback, j.Env)
	}
	if err != nil {
		return "read the request", err
	}
	if setup.Join == initproto.JoinClone {
		if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
			return "make the job's view of the cgroups", err
		}
	}
	if step, err := dress(setup.Filter); err != nil {
		return step, err
	}
	if j.Terminal {
		if err := unix.IoctlSetInt(0, unix.TIOCSCTTY, 0); err != nil {
			return "take the terminal", err
		}
	}
	argv := j.Argv
	if err = settle(j); err == nil {
		err = ready()
	}
	if err == nil {
		// From here on there may be no memory left to be had.
		limitSelf(j)
		err = program.replace()
		if len(j.Fallback) > 0 {
			argv, err = j.Fallback, fallback.replace()
		}
	}
	return "execute " + argv[0], err
}

// exec is an execve with everything that it needs.
type exec struct {
	path       *byte // nil: there is no such program
	argv, envp []*byte
}

func prepare(argv, env []string) (e exec, err error) {
	if path := locate(argv[0], env); path != "" {
		if e.path, err = syscall.BytePtrFromString(path); err != nil {
			return e, err
		}
	}
	if e.argv, err = syscall.SlicePtrFromStrings(argv); err != nil {
		return e, err
	}
	e.envp, err = syscall.SlicePtrFromStrings(env)
	return e, err
}

// replace executes a program in place of this one, by a raw call: syscall's
// Exec would put back the soft limit of files.
func (e exec) replace() error {
	if e.path == nil {
		return unix.ENOENT
	}
	_, _, errno := unix.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(e.path)),
		uintptr(unsafe.Pointer(unsafe.SliceData(e.argv))), uintptr(unsafe.Pointer(unsafe.SliceData(e.envp))))
	return errno
}

// settle makes the calling thread the job's user in the job's folder, by raw
// calls: syscall's own would change every thread, and the others have no filter
// and don't outlive the exec.
func settle(j initproto.Job) error {
	for _, change := range []struct{ call, a, b uintptr }{
		{unix.SYS_SETGROUPS, uintptr(len(j.Groups)), uintptr(unsafe.Pointer(unsafe.SliceData(j.Groups)))},
		{unix.SYS_SETGID, uintptr(j.GID), 0},
		{unix.SYS_SETUID, uintptr(j.UID), 0},
	} {
		if _, _, errno := unix.RawSyscall(change.call, change.a, change.b, 0); errno != 0 {
			return errno
		}
	}
	if j.Dir == "" {
		return nil
	}
	return unix.Chdir(j.Dir)
}
