package box

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
)

// One job after the other in a container that runs: started, and waited for.
//
//	go test -run - -bench 'Job|Script' -benchtime 500x ./isolation/box
func BenchmarkJob(b *testing.B) { benchmarkJob(b, func(*isolation.Job) {}) }

// The same with limits that only the job can set for itself.
func BenchmarkLimitedJob(b *testing.B) {
	benchmarkJob(b, func(job *isolation.Job) {
		job.Rlimits = []isolation.Rlimit{{Resource: unix.RLIMIT_CORE}, {Resource: unix.RLIMIT_STACK, Value: 1 << 20}}
	})
}

// As Warden starts one: a script for bash, by name, with all its limits.
func BenchmarkScript(b *testing.B) {
	benchmarkJob(b, func(job *isolation.Job) {
		job.Argv, job.Stdin = []string{"/bin/bash"}, []byte("true")
		job.User, job.Dir = isolation.User{Name: "vcap"}, ""
		for _, resource := range []int{unix.RLIMIT_CORE, unix.RLIMIT_STACK, unix.RLIMIT_MEMLOCK, unix.RLIMIT_NICE} {
			job.Rlimits = append(job.Rlimits, isolation.Rlimit{Resource: resource, Value: 1 << 20})
		}
	})
}

// As Warden has one after the other: what was read is forgotten.
func BenchmarkForgottenScript(b *testing.B) {
	benchmarkJob(b, func(job *isolation.Job) {
		job.Argv, job.Stdin = []string{"/bin/bash"}, []byte("true")
	}, forgetting)
}

// forgetting is what follows each run.
func forgetting(b *testing.B, box *Box, id string, job uint32) {
	if err := box.Forget(b.Context(), id, job); err != nil {
		b.Fatal(err)
	}
}

func benchmarkJob(b *testing.B, change func(*isolation.Job), after ...func(*testing.B, *Box, string, uint32)) {
	m := newMachine(b)
	box, _ := m.open()
	defer m.end(box)
	spec := m.spec(0)
	if _, err := box.Create(b.Context(), spec, idler()); err != nil {
		b.Fatal(err)
	}
	took := shares{}
	before := cpu(b)
	for i := range b.N {
		job := shell(uint32(i+2), "")
		job.Argv = []string{"/bin/true"}
		change(job)
		begun := time.Now()
		if err := box.Spawn(b.Context(), spec.ID, *job); err != nil {
			b.Fatal(err)
		}
		took.add(isolation.Timing{Step: "spawn", Took: time.Since(begun)})
		if _, err := box.Wait(b.Context(), spec.ID, job.Number); err != nil {
			b.Fatal(err)
		}
		took.add(isolation.Timing{Step: "run", Took: time.Since(begun)})
		for _, act := range after {
			act(b, box, spec.ID, job.Number)
		}
	}
	used := cpu(b) - before
	b.ReportMetric(float64(used.Microseconds())/float64(b.N), "agent-cpu-us")
	took.report(b)
}

// cpu is what this process has used of the processors.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
