package main

import (
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation/guard"
	"github.com/deacon-agent/deacon/isolation/initproto"
)

// job is one process tree, known by its first process.
type job struct {
	number uint32
	pid    int
	record *os.File
	exit   *initproto.Exit
}

// spawn starts a job. files are stdin, stdout, stderr, the exit record and the
// folder of them all; the first three are the job's alone afterwards, but for the bounds.
func (c *container) spawn(j initproto.Job, files []*os.File) (initproto.Started, *initproto.Failed) {
	refused := func(step, text string) (initproto.Started, *initproto.Failed) {
		closeAll(files)
		return initproto.Started{}, &initproto.Failed{Job: j.Number, Step: step, Text: text}
	}
	if len(files) != initproto.SpawnDescriptors {
		return refused("read the request", "wrong number of descriptors")
	}
	for _, known := range c.jobs {
		if known.number == j.Number {
			return refused("read the request", "job "+strconv.Itoa(int(j.Number))+" exists")
		}
	}
	pidFile := openPidFile(j)
	pid, step, err := c.fork(j, files)
	if err == nil {
		limitProcess(pid, j)
	}
	writePid(pidFile, pid)
	if err != nil {
		return refused(step, err.Error())
	}
	c.jobs = append(c.jobs, &job{number: j.Number, pid: pid, record: files[3]})
	c.watchOutput(files[4], int64(j.OutputMax))
	closeAll(files[:3])
	return initproto.Started{Number: j.Number, PID: uint32(pid)}, nil
}

// forked is what a job's thread says of its fork.
type forked struct {
	pid  int
	step string
	err  error
}

// fork starts the job's first process, on v1 from a fresh thread. The thread
// takes on everything the job must inherit (cgroups, bounding set,
// no_new_privs, filter), none of which can be taken off again, so it is never
// unlocked and ends with its goroutine. On v2 the child takes it on.
func (c *container) fork(j initproto.Job, files []*os.File) (int, string, error) {
	// The umask belongs to the process, not the thread; jobs are started one
	// after the other, on the main goroutine, so nobody else sees it.
	before := unix.Umask(int(j.Umask))
	defer unix.Umask(before)
	defer lowerLimits(j)()
	if c.setup.Join == initproto.JoinClone {
		return c.bear(j, files)
	}
	done := make(chan forked, 1)
	go func() {
		runtime.LockOSThread()
		if step, err := c.joinAndDress(); err != nil {
			done <- forked{step: step, err: err}
			return
		}
		argv := j.Argv
		pid, err := execute(argv, jobAttributes(j, files))
		if err != nil && len(j.Fallback) > 0 {
			argv = j.Fallback
			pid, err = execute(argv, jobAttributes(j, files))
		}
		done <- forked{pid: pid, step: "execute " + argv[0], err: err}
	}()
	result := <-done
	return result.pid, result.step, result.err
}

// joinAndDress takes the calling thread to where the job is born.
func (c *container) joinAndDress() (string, error) {
	for _, tasks := range c.joins {
		// "0" is the writing thread itself: moving only itself costs no
		// grace period, unlike cgroup.procs.
		if _, err := unix.Write(int(tasks.Fd()), []byte("0")); err != nil {
			return "join the jobs' cgroups", err
		}
	}
	return dress(c.setup.Filter)
}

// dress gives the calling thread what the job inherits.
func dress(filter []byte) (string, error) {
	setSlack(jobSlack)
	if err := dropCapabilities(); err != nil {
		return "drop capabilities", err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return "set no_new_privs", err
	}
	return "install the system-call filter", installFilter(filter)
}

func dropCapabilities() error {
	for capability := range guard.CapabilityLast + 1 {
		if kept(capability) {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(capability), 0, 0, 0)
		if err == unix.EINVAL {
			return nil // beyond this kernel's last
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func kept(capability int) bool {
	for _, c := range guard.Capabilities {
		if c == capability {
			return true
		}
	}
	return false
}

func jobAttributes(j initproto.Job, files []*os.File) *syscall.ProcAttr {
	return &syscall.ProcAttr{
		Dir:   j.Dir,
		Env:   j.Env,
		Files: []uintptr{files[0].Fd(), files[1].Fd(), files[2].Fd()},
		Sys: &syscall.SysProcAttr{
			Setsid:     true,
			Credential: &syscall.Credential{Uid: j.UID, Gid: j.GID, Groups: j.Groups},
		},
	}
}

// rlimits are the job's, by resource; 0 is no limit.
func rlimits(j initproto.Job) map[int]uint64 {
	return map[int]uint64{unix.RLIMIT_NOFILE: j.Files, unix.RLIMIT_NPROC: j.Procs}
}

// forkFiles is how many descriptors a fork needs beside those that are open.
const forkFiles = 16

// lowerLimits gives PID 1 the job's soft limit of files for as long as the fork
// takes, so that the job never runs a moment without it. A hard limit lowered
// here could never be raised again for the next job; limitProcess sets the
// job's. PID 1 itself has to live with it, so it is never below what it has
// open. That is why processes are not limited here: PID 1's own threads, and
// all of the container's root, count against that limit.
func lowerLimits(j initproto.Job) (restore func()) {
	var now syscall.Rlimit
	next, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0) // the lowest that is free
	if err != nil || j.Files == 0 || syscall.Getrlimit(unix.RLIMIT_NOFILE, &now) != nil {
		return func() {}
	}
	unix.Close(next)
	// syscall's own function: after it the runtime no longer gives a child
	// the limit of files that this process was started with.
	soft := min(max(j.Files, uint64(next+forkFiles)), now.Max)
	syscall.Setrlimit(unix.RLIMIT_NOFILE, &syscall.Rlimit{Cur: soft, Max: now.Max})
	return func() { syscall.Setrlimit(unix.RLIMIT_NOFILE, &now) }
}

// limitProcess makes the job's limits hard ones, from outside, a few
// microseconds after its exec.
func limitProcess(pid int, j initproto.Job) {
	for resource, limit := range rlimits(j) {
		if limit == 0 {
			continue
		}
		var now unix.Rlimit
		if err := unix.Prlimit(pid, resource, nil, &now); err != nil {
			continue // it has ended already
		}
		limit = min(limit, now.Max)
		unix.Prlimit(pid, resource, &unix.Rlimit{Cur: limit, Max: limit}, nil)
	}
}

// openPidFile makes sure of the file before the job runs, as the start script's
// `echo $$ >>` would; -1: there is none.
func openPidFile(j initproto.Job) int {
	if j.PidFile == "" {
		return -1
	}
	// Never through a link and never waiting for a reader: the folder is the
	// application's own.
	fd, err := unix.Open(j.PidFile, unix.O_WRONLY|unix.O_CREAT|unix.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK|
		unix.O_CLOEXEC, 0o666&^j.Umask)
	if err != nil {
		return -1
	}
	unix.Fchown(fd, int(j.UID), int(j.GID))
	return fd
}

// writePid appends the pid, at once after the fork. 0 is none.
func writePid(fd, pid int) {
	if fd < 0 {
		return
	}
	if pid > 0 {
		unix.Write(fd, []byte(strconv.Itoa(pid)+"\n"))
	}
	unix.Close(fd)
}

// ended notes how a job's first process ended, on disk before anybody hears of it.
func (c *container) ended(j *job, status unix.WaitStatus) {
	exit := initproto.Exit{
		Job: j.number, Code: -1, OOMKills: readOOMKills(c.oom), Ordered: c.stopping != nil, At: time.Now(),
	}
	if status.Signaled() {
		exit.Signal = uint32(status.Signal())
	} else {
		exit.Code = int32(status.ExitStatus())
	}
	j.pid, j.exit = 0, &exit
	unix.Pwrite(int(j.record.Fd()), initproto.EncodeExit(exit), 0)
	j.record.Close()
	c.tell(initproto.Exited(exit))
}
