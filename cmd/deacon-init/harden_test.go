package main

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation/initproto"
)

// started is a process that lives until the test's end.
func started(t *testing.T) int {
	t.Helper()
	process, err := os.StartProcess("/bin/sleep", []string{"sleep", "60"}, &os.ProcAttr{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { process.Kill(); process.Wait() })
	return process.Pid
}

func stackOf(t *testing.T, pid int) (limit unix.Rlimit) {
	t.Helper()
	if err := unix.Prlimit(pid, unix.RLIMIT_STACK, nil, &limit); err != nil {
		t.Fatal(err)
	}
	return limit
}

// A job whose exec ended late has a hard limit all the same, at each of the times,
// and then PID 1 is left in peace.
func TestTheStacksLimitIsMadeHardAfterTheExec(t *testing.T) {
	const size = 1 << 20
	early, late, silent := started(t), started(t), started(t)
	if hard := stackOf(t, early).Max; hard <= size {
		t.Fatalf("the hard limit is %d already: this shows nothing", hard)
	}
	job := initproto.Job{Rlimits: []initproto.Rlimit{{Resource: unix.RLIMIT_STACK, Value: size}}}
	var h hardening
	h.soon(silent, initproto.Job{})
	if h.due() != nil {
		t.Fatal("something is due for a job that asked for nothing")
	}
	h.soon(early, job)
	h.soon(late, job)
	h.ended(late)
	for range hardenAfter {
		select {
		case now := <-h.due():
			h.look(now)
		case <-time.After(10 * time.Second):
			t.Fatal("it is never due")
		}
	}
	if h.due() != nil {
		t.Error("something is due for ever")
	}
	if got := stackOf(t, early); got.Max != size || got.Cur != size {
		t.Errorf("the limit is %d and %d", got.Cur, got.Max)
	}
	for _, pid := range []int{late, silent} {
		if got := stackOf(t, pid); got.Max == size {
			t.Errorf("a process that was forgotten, or asked for nothing, got %+v", got)
		}
	}
}
