package sweep

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// victim is a process that is traced, as a target or because it bears one.
type victim struct {
	target *Target // nil: it only bears
	pid    int
	steps  int
	killed string
}

// thread is one of a victim's.
type thread struct {
	victim *victim
	doomed string // the call under way is the last: it is named here
}

// tracing is one order being carried out.
type tracing struct {
	threads map[int]*thread
	victims []*victim
	poked   *poked
	letting bool // everybody is being let go of
}

const (
	follow  = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE
	bearing = follow | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK
)

func (t *tracing) of(pid int) *victim {
	for _, v := range t.victims {
		if v.pid == pid {
			return v
		}
	}
	return nil
}

// run goes on until every target is dead, or it is told to stop: to the last thread
// that the kernel knows of, which may be one that wasn't heard of yet. A process
// whose thread nobody buries can't be buried either.
func (t *tracing) run() error {
	for {
		if !t.letting && (t.poked.stopped.Load() || t.over()) {
			t.letAllGo()
		}
		if _, err := t.hear(); errors.Is(err, unix.ECHILD) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// hear waits for the kernel's next word, takes it, and says on whom it was.
func (t *tracing) hear() (tid int, err error) {
	var status unix.WaitStatus
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		tid, err = unix.Wait4(-1, &status, unix.WALL|unix.WNOTHREAD, nil)
	}
	if err != nil {
		return 0, fmt.Errorf("sweep: wait for the traced: %w", err)
	}
	t.heard(tid, status)
	return tid, nil
}

// over says whether every target was killed, as far as it is to be.
func (t *tracing) over() bool {
	for _, v := range t.victims {
		if v.target != nil && v.killed == "" {
			return false
		}
	}
	return true
}

// letAllGo ends the tracing. Who was to die with another that is dead, and hasn't
// come to its own step, dies where it stands: two deaths are what was asked for.
func (t *tracing) letAllGo() {
	t.letting = true
	if slices.ContainsFunc(t.victims, func(v *victim) bool { return v.killed != "" }) {
		for _, th := range t.threads {
			if v := th.victim; t.dueStill(v) {
				t.kill(v, "where it stood")
			}
		}
	}
	for tid := range t.threads {
		_ = ptrace(unix.PTRACE_INTERRUPT, tid, 0) // ESRCH: it is going anyway
	}
}

// dueStill says whether a victim was to die and didn't.
func (t *tracing) dueStill(v *victim) bool {
	if v.target == nil || v.target.N == 0 || v.killed != "" {
		return false
	}
	return !v.target.Perhaps || v.steps > 0 && !slices.ContainsFunc(t.victims, func(other *victim) bool {
		return other.target != nil && other.target.Role == v.target.Role && other.killed != ""
	})
}

// heard takes the kernel's word on one thread and lets it go on.
func (t *tracing) heard(tid int, status unix.WaitStatus) {
	if !status.Stopped() {
		t.ended(tid)
		return
	}
	th := t.threads[tid]
	if th == nil {
		th = t.born(tid)
	}
	event, signal := int(status)>>16, status.StopSignal()
	switch {
	case signal == unix.SIGTRAP|0x80:
		t.atCall(tid, th)
		signal = 0
	case event == unix.PTRACE_EVENT_STOP && signal != unix.SIGTRAP:
		_ = ptrace(unix.PTRACE_LISTEN, tid, 0) // stopped as anybody may stop it
		return
	case event != 0:
		signal = 0
	}
	if t.letting {
		if ptrace(unix.PTRACE_DETACH, tid, uintptr(signal)) == nil {
			delete(t.threads, tid)
		}
		return
	}
	_ = ptrace(unix.PTRACE_SYSCALL, tid, uintptr(signal)) // ESRCH: it was killed
}

// ended forgets a thread. A process that was born and ended without a step was none
// that anybody waits for (Go's library tries out what the kernel can): the next is.
func (t *tracing) ended(tid int) {
	th := t.threads[tid]
	delete(t.threads, tid)
	if th == nil || th.victim.target == nil || th.victim.target.PID != 0 || th.victim.steps > 0 {
		return
	}
	if !t.holds(th.victim) {
		th.victim.pid = 0
	}
}

// born finds out whose a thread is that was never heard of: one more of a
// victim's, or the first of a process that a victim bore.
func (t *tracing) born(tid int) *thread {
	pid := processOf(tid)
	v := t.of(pid)
	if v == nil {
		v = t.awaited(parentOf(pid))
		v.pid = pid
		_ = ptrace(unix.PTRACE_SETOPTIONS, tid, follow) // what it bears is nobody's
	}
	th := &thread{victim: v}
	t.threads[tid] = th
	return th
}

// awaited is the target that a process was to bear; one without a target where
// it bears another.
func (t *tracing) awaited(parent int) *victim {
	for _, v := range t.victims {
		if v.pid == 0 && v.target.Parent == parent {
			return v
		}
	}
	other := &victim{}
	t.victims = append(t.victims, other)
	return other
}

// callInfo is ptrace_syscall_info of linux/ptrace.h.
type callInfo struct {
	op     uint8
	_      [3]uint8
	_      uint32 // architecture
	_, _   uint64 // instruction and stack pointers
	number uint64 // at an entry
	args   [6]uint64
	_      [2]uint64
}

const (
	getCallInfo = 0x420e // PTRACE_GET_SYSCALL_INFO
	atEntry     = 1
)

// atCall is the beginning or the end of a call.
func (t *tracing) atCall(tid int, th *thread) {
	v := th.victim
	if v.target == nil || v.killed != "" {
		return
	}
	var info callInfo
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, getCallInfo, uintptr(tid), unsafe.Sizeof(info),
		uintptr(unsafe.Pointer(&info)), 0, 0)
	if errno != 0 {
		return
	}
	if info.op != atEntry {
		if th.doomed != "" {
			t.kill(v, "after "+th.doomed)
		}
		return
	}
	name, counts := call{info.number, info.args}.step(v.pid)
	if !counts {
		return
	}
	v.steps++
	switch {
	case v.steps != v.target.N:
	case v.target.After:
		th.doomed = name
	default:
		t.kill(v, "before "+name)
	}
}

// kill ends a victim where it stands: at the beginning of a call, the kernel
// doesn't execute it any more. We hold one of its threads, so its number can't be
// another's; one that dies in its stead is its caller's to be sure of.
func (t *tracing) kill(v *victim, at string) {
	v.killed = at
	if v.target.Instead != 0 {
		_ = unix.Kill(v.target.Instead, unix.SIGKILL)
		return
	}
	_ = unix.Kill(v.pid, unix.SIGKILL)
}

func (t *tracing) results() (all []Traced) {
	for _, v := range t.victims {
		if v.target != nil {
			all = append(all, Traced{Role: v.target.Role, Steps: v.steps, Killed: v.killed})
		}
	}
	return all
}

func ptrace(request, tid int, data uintptr) error {
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, uintptr(request), uintptr(tid), 0, data, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
