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

// job is one process tree, known by its first process, until that has ended.
type job struct {
	number uint32
	pid    int
	record *os.File
	output *bounded // nil: nobody bounds it

	session bool // it ends with owner, and no later agent hears of it
	owner   *agent
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
	if c.knows(j.Number) {
		return refused("read the request", "job "+strconv.Itoa(int(j.Number))+" exists")
	}
	if len(c.jobs)+c.bounds.left() >= initproto.RunningMax {
		return refused("start another job", "too many run, or have left a process that may write to their output")
	}
	pidFile := openPidFile(j)
	pid, step, err := c.fork(j, files)
	writePid(pidFile, pid)
	if err != nil {
		return refused(step, err.Error())
	}
	c.stacks.soon(pid, j)
	output := c.watchOutput(files[4], int64(j.OutputMax))
	c.jobs = append(c.jobs, &job{number: j.Number, pid: pid, record: files[3], output: output, session: j.Session})
	closeAll(files[:3])
	return initproto.Started{Number: j.Number, PID: uint32(pid)}, nil
}

// knows says whether there is such a job, or was lately. Of those before it is
// the agent that knows: their numbers are on disk.
func (c *container) knows(number uint32) bool {
	for _, j := range c.jobs {
		if j.number == number {
			return true
		}
	}
	for _, exit := range c.ended {
		if exit.Job == number {
			return true
		}
	}
	return false
}

// stuckAfter is how long a job's first process may take to its exec, before
// everybody inside is told to go on.
const stuckAfter = time.Second

// forked is what a job's thread says of its fork.
type forked struct {
	pid  int
	step string
	err  error
}

// fork starts the job's first process.
func (c *container) fork(j initproto.Job, files []*os.File) (int, string, error) {
	// The umask belongs to the process, not the thread; jobs are started one
	// after the other, on the main goroutine, so nobody else sees it.
	before := unix.Umask(int(j.Umask))
	defer unix.Umask(before)
	defer lowerLimits(j)()
	if c.setup.Join == initproto.JoinClone {
		return c.bear(j, files)
	}
	restore, lent := lendLimits(j)
	defer restore()
	if !lent {
		// Nobody but the process itself can set such limits before its program
		// begins: what is set from outside at once after the exec comes late
		// under load. A tracer could hold it there, but a child that is sent a
		// signal meanwhile stands still, and so does PID 1.
		return c.onThread(c.join, func() (int, string, error) { return c.bear(j, files) })
	}
	pid, step, err := c.onThread(c.joinAndDress, func() (int, string, error) {
		pid, step, err := executeJob(j, files)
		if err == nil {
			limitProcess(pid, j)
		}
		return pid, step, err
	})
	if err == nil {
		// Again: an exec ends with the stack's limits as they were when it began,
		// and it may end later still (hardening).
		limitProcess(pid, j)
	}
	return pid, step, err
}

// onThread starts a process from a fresh thread, which takes on first what the
// process inherits (cgroups, bounding set, no_new_privs, filter), none of which
// can be taken off again. So it is never unlocked and ends with its goroutine.
func (c *container) onThread(first func() (string, error), start func() (int, string, error)) (int, string, error) {
	done := make(chan forked, 1)
	go func() {
		runtime.LockOSThread()
		step, err := first()
		if err != nil {
			done <- forked{step: step, err: err}
			return
		}
		pid, step, err := start()
		done <- forked{pid, step, err}
	}()
	for {
		select {
		case result := <-done:
			return result.pid, result.step, result.err
		case <-time.After(stuckAfter):
			// Somebody inside stopped the child between its clone and its exec,
			// and the thread that waits for that.
			unix.Kill(-1, unix.SIGCONT)
		}
	}
}

func executeJob(j initproto.Job, files []*os.File) (int, string, error) {
	argv := j.Argv
	pid, err := execute(argv, jobAttributes(j, files))
	if err != nil && len(j.Fallback) > 0 {
		argv = j.Fallback
		pid, err = execute(argv, jobAttributes(j, files))
	}
	return pid, "execute " + argv[0], err
}

// joinAndDress takes the calling thread to where the job is born.
func (c *container) joinAndDress() (string, error) {
	if step, err := c.join(); err != nil {
		return step, err
	}
	return dress(c.setup.Filter)
}

func (c *container) join() (string, error) {
	for _, tasks := range c.joins {
		// "0" is the writing thread itself: moving only itself costs no
		// grace period, unlike cgroup.procs.
		if _, err := unix.Write(int(tasks.Fd()), []byte("0")); err != nil {
			return "join the jobs' cgroups", err
		}
	}
	return "", nil
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
			Setctty:    j.Terminal, // of its stdin
			Credential: &syscall.Credential{Uid: j.UID, Gid: j.GID, Groups: j.Groups},
		},
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

// bury notes how a job's first process ended, on disk before anybody hears of it.
func (c *container) bury(j *job, status unix.WaitStatus) {
	exit := initproto.Exit{
		Job: j.number, Code: -1, OOMKills: readOOMKills(c.oom), Ordered: c.stopping != nil, At: time.Now(),
	}
	if status.Signaled() {
		exit.Signal = uint32(status.Signal())
	} else {
		exit.Code = int32(status.ExitStatus())
	}
	unix.Pwrite(int(j.record.Fd()), initproto.EncodeExit(exit), 0)
	j.record.Close()
	if j.session {
		c.farewells.begin(j.pid)
		c.tell(initproto.Exited(exit))
		return
	}
	// The record speaks for those that are forgotten.
	if len(c.ended) == initproto.EndedMax {
		c.ended = append(c.ended[:0], c.ended[1:]...)
	}
	c.ended = append(c.ended, exit)
	c.tell(initproto.Exited(exit))
	c.bounds.ended(j.output)
}
