package sweep

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tracerPart is the process that traces.
type tracerPart struct {
	t testing.TB
	*part
}

func startTracer(t testing.TB) *tracerPart {
	t.Helper()
	p := &tracerPart{t, startPart(t, TracerEnv+"=1")}
	t.Cleanup(func() { p.end() })
	return p
}

// trace has it take hold of targets.
func (p *tracerPart) trace(targets []Target) error {
	_, err := p.order(order{Targets: targets})
	return err
}

// traced ends the tracing and says what became of the targets.
func (p *tracerPart) traced() ([]Traced, error) {
	a, err := p.order(order{})
	return a.Traced, err
}

// order has it do something. One that doesn't answer is replaced: whom it held could
// neither live nor be buried, and its answer would be taken for the next.
func (p *tracerPart) order(o order) (a answer, err error) {
	if err = p.send(o); err == nil {
		err = p.receive(&a)
	}
	if err != nil {
		err = fmt.Errorf("the tracer: %w, with a hold of %q", err, p.held())
		p.end()
		p.part = startPart(p.t, TracerEnv+"=1")
		return a, err
	}
	if a.Error != "" {
		err = errors.New(a.Error)
	}
	return a, err
}

// held are the threads that it traces, and what the kernel does with each.
func (p *tracerPart) held() (all []string) {
	threads, _ := filepath.Glob("/proc/[0-9]*/task/[0-9]*")
	by := fmt.Sprintf("\nTracerPid:\t%d\n", p.pid())
	for _, thread := range threads {
		status, _ := os.ReadFile(thread + "/status")
		if !strings.Contains(string(status), by) {
			continue
		}
		_, state, _ := strings.Cut(string(status), "\nState:\t")
		state, _, _ = strings.Cut(state, "\n")
		stack, _ := os.ReadFile(thread + "/stack")
		all = append(all, strings.Join(append([]string{thread, state}, strings.Fields(string(stack))...), " "))
	}
	return all
}
