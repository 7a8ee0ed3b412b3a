package sweep

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// attach takes hold of every target that there is, and of who is to bear the others.
func (t *tracing) attach(targets []Target) error {
	for _, target := range targets {
		v := &victim{target: &target, pid: target.PID}
		options := follow
		if target.PID == 0 {
			t.victims = append(t.victims, v) // it is born later
			if t.of(target.Parent) != nil {
				continue // a target itself, and followed (below)
			}
			v, options = &victim{pid: target.Parent}, bearing
		}
		for _, other := range targets {
			if other.PID == 0 && other.Parent == target.PID {
				options = bearing
			}
		}
		t.victims = append(t.victims, v)
		err := t.seize(v, options)
		if errors.Is(err, errGone) && target.Perhaps {
			continue
		}
		if err != nil {
			return err
		}
		t.poked.add(v.pid)
	}
	return nil
}

// errGone says of a process that none of its threads lives.
var errGone = errors.New("it is gone")

// seize takes every thread of a process, those too that begin meanwhile.
func (t *tracing) seize(v *victim, options int) error {
	for found := true; found; {
		found = false
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/[0-9]*", v.pid))
		if err != nil {
			return err
		}
		for _, task := range tasks {
			tid, _ := strconv.Atoi(filepath.Base(task))
			if t.threads[tid] != nil {
				continue
			}
			err := ptrace(unix.PTRACE_SEIZE, tid, uintptr(options))
			if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EPERM) && (followed(task) || ending(task)) {
				continue // gone, or begun by one that is followed
			}
			if err != nil {
				return fmt.Errorf("sweep: seize thread %d of %d: %w", tid, v.pid, err)
			}
			found = true
			t.threads[tid] = &thread{victim: v}
			if err := ptrace(unix.PTRACE_INTERRUPT, tid, 0); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("sweep: interrupt thread %d: %w", tid, err)
			}
		}
	}
	if !t.holds(v) {
		return fmt.Errorf("sweep: process %d: %w", v.pid, errGone)
	}
	return t.settle(v)
}

// holds says whether a thread of a process was taken.
func (t *tracing) holds(v *victim) bool {
	for _, th := range t.threads {
		if th.victim == v {
			return true
		}
	}
	return false
}

// settle waits until the threads of a process have all stopped once and go on
// from call to call: a call made before that would not be counted. Whatever else
// is heard meanwhile is taken as well: a process that is killed now ends only when
// each of its threads was buried, so nobody may wait for a certain one.
func (t *tracing) settle(v *victim) error {
	waiting := map[int]bool{}
	for tid, th := range t.threads {
		if th.victim == v {
			waiting[tid] = true
		}
	}
	for len(waiting) > 0 {
		tid, err := t.hear()
		if errors.Is(err, unix.ECHILD) {
			return nil // all of them have ended
		}
		if err != nil {
			return err
		}
		delete(waiting, tid) // whatever stopped it: a stop takes the interruption's place
	}
	return nil
}

// followed says whether a thread has us for its tracer already.
func followed(task string) bool {
	status, _ := os.ReadFile(task + "/status")
	return strings.Contains(string(status), fmt.Sprintf("TracerPid:\t%d\n", os.Getpid()))
}

// ending says whether a thread has ended and was not buried yet.
func ending(task string) bool {
	status, err := os.ReadFile(task + "/status")
	return err != nil || strings.Contains(string(status), "State:\tZ") || strings.Contains(string(status), "State:\tX")
}
