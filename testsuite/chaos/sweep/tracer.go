package sweep

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// TracerEnv has a process play the tracer. It is one of its own because the
// kernel tells a tracer of its own children's ends, and not who else waits for
// them.
const TracerEnv = "DEACON_SWEEP_TRACER"

// Target is a process to be killed at one of its steps.
type Target struct {
	Role string `json:"role"` // agent, launcher, init
	PID  int    `json:"pid"`
	// Parent, where PID is 0: the target is the next process that this one bears.
	Parent int  `json:"parent,omitempty"`
	N      int  `json:"n"`     // which step, from 1; 0: none, they are counted
	After  bool `json:"after"` // killed once the call was executed; else it is not
	// Instead is who is killed at the target's step: another process, while the target
	// stands there. 0: the target itself.
	Instead int `json:"instead,omitempty"`
	// Perhaps says that it is one of several of its role, and which of them comes to
	// a step is not known before: who doesn't lives.
	Perhaps bool `json:"perhaps,omitempty"`
}

// Traced is what became of a Target.
type Traced struct {
	Role   string `json:"role"`
	Steps  int    `json:"steps"`            // how many there were until its end or the tracing's
	Killed string `json:"killed,omitempty"` // the call at which it was, or was Target.Instead
}

// order is what the tracer is told: whom to trace, or, without any, to stop.
type order struct {
	Targets []Target `json:"targets"`
}

// answer tells that all are traced, and at the end what became of them.
type answer struct {
	Attached bool     `json:"attached,omitempty"`
	Error    string   `json:"error,omitempty"`
	Traced   []Traced `json:"traced,omitempty"`
}

// PlayTracer serves orders until its input ends.
func PlayTracer(in io.Reader, out io.Writer) error {
	runtime.LockOSThread() // the kernel knows tracers by their threads
	orders := make(chan order)
	var now poked
	go func() {
		defer close(orders)
		lines := bufio.NewScanner(in)
		for lines.Scan() {
			var o order
			if json.Unmarshal(lines.Bytes(), &o) != nil {
				return
			}
			if len(o.Targets) == 0 {
				now.stop()
			} else {
				orders <- o
			}
		}
	}()
	say := json.NewEncoder(out)
	for o := range orders {
		t := &tracing{threads: map[int]*thread{}, poked: &now}
		now.reset()
		err := t.attach(o.Targets)
		if err == nil {
			if err = say.Encode(answer{Attached: true}); err != nil {
				return err
			}
			err = t.run()
		} else {
			now.stop() // what was attached has to be let go of
			err = errors.Join(err, t.run())
		}
		a := answer{Traced: t.results()}
		if err != nil {
			a.Error = err.Error()
		}
		if err := say.Encode(a); err != nil {
			return err
		}
	}
	return nil
}

// poked wakes a tracer that waits for the kernel's word: by a signal to a process
// that it traces, of which it is told first.
type poked struct {
	mu      sync.Mutex
	pids    []int
	stopped atomic.Bool
}

func (p *poked) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pids = nil
	p.stopped.Store(false)
}

func (p *poked) add(pid int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pids = append(p.pids, pid)
}

// stop sends what a Go program takes for its own scheduler's.
func (p *poked) stop() {
	p.stopped.Store(true)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pid := range p.pids {
		unix.Tgkill(pid, pid, unix.SIGURG)
	}
}
