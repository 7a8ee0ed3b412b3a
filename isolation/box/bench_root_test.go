package box

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/deacon-agent/deacon/isolation"
)

// idle is the pause before each start: a loop without one hides what costs a
// grace period.
const idle = 60 * time.Millisecond

// shares collects how long each step took.
type shares map[string][]time.Duration

func (s shares) add(timings ...isolation.Timing) {
	for _, t := range timings {
		s[t.Step] = append(s[t.Step], t.Took)
	}
}

func (s shares) report(b *testing.B) {
	b.Helper()
	for step, took := range s {
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2])/1e6, step+"-p50-ms")
		b.ReportMetric(float64(took[len(took)*99/100])/1e6, step+"-p99-ms")
	}
}

// idler is an application that does nothing.
func idler() *isolation.Job {
	job := shell(1, "")
	job.Argv = []string{"/bin/sleep", "300"}
	return job
}

// One container after the other, made, destroyed and released:
//
//	go test -run - -bench One -benchtime 100x ./isolation/box
func BenchmarkOne(b *testing.B) {
	m := newMachine(b)
	box, _ := m.open()
	defer m.end(box)
	took := shares{}
	before := cpu(b)
	for i := range b.N {
		spec := m.spec(uint32(i%1000), 61001)
		spec.Epoch = uint32(i/1000 + 1)
		time.Sleep(idle)
		status, err := box.Create(b.Context(), spec, idler())
		if err != nil {
			b.Fatal(err)
		}
		took.add(status.Steps...)
		begun := time.Now()
		if err := box.Destroy(b.Context(), spec.ID); err != nil {
			b.Fatal(err)
		}
		took.add(isolation.Timing{Step: "destroy", Took: time.Since(begun)})
		if err := box.Release(b.Context(), []string{spec.ID}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "agent-cpu-us")
	took.report(b)
}

// 16 in flight, each until its job has ended and the container is destroyed;
// released in one batch at the end, as the agent does it off the way.
func BenchmarkMany(b *testing.B) {
	m := newMachine(b)
	box, _ := m.open()
	defer m.end(box)
	job := shell(1, "")
	job.Argv = []string{"/bin/true"}
	var specs []isolation.Spec
	for i := range b.N {
		specs = append(specs, m.spec(uint32(i)))
	}
	took := make([][]isolation.Timing, b.N)
	var group errgroup.Group
	group.SetLimit(16)
	begun := time.Now()
	for i, spec := range specs {
		group.Go(func() error {
			status, err := box.Create(b.Context(), spec, job)
			if err != nil {
				return err
			}
			took[i] = status.Steps
			if _, err := box.Wait(b.Context(), spec.ID, 1); err != nil {
				return err
			}
			return box.Destroy(b.Context(), spec.ID)
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/time.Since(begun).Seconds(), "containers/s")
	all := shares{}
	for _, timings := range took {
		all.add(timings...)
	}
	all.report(b)
}

// The private memory of one deacon-init among ten alike.
func BenchmarkMemory(b *testing.B) {
	const alike = 10
	m := newMachine(b)
	box, _ := m.open()
	defer m.end(box)
	var kib float64
	for i := range alike {
		status, err := box.Create(b.Context(), m.spec(uint32(i)), idler())
		if err != nil {
			b.Fatal(err)
		}
		time.Sleep(idle)
		kib += private(b, status.InitPID)
	}
	b.ReportMetric(kib/alike, "private-KiB")
}

// private is what the process alone pays for.
func private(b *testing.B, pid int) (kib float64) {
	b.Helper()
	rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(rollup)) {
		var part float64
		for _, name := range []string{"Private_Clean:", "Private_Dirty:"} {
			if n, _ := fmt.Sscanf(line, name+" %f kB", &part); n == 1 {
				kib += part
			}
		}
	}
	return kib
}
