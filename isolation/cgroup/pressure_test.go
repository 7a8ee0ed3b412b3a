package cgroup

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/isolation"
)

func TestPressureIsReadAsTheKernelWritesIt(t *testing.T) {
	body := "some avg10=0.12 avg60=0.00 avg300=0.00 total=1500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"
	got, err := parsePressure("machine", "io", body)
	want := []isolation.Stall{
		{Scope: "machine", Resource: "io", Kind: "some", Total: 1500 * time.Millisecond},
		{Scope: "machine", Resource: "io", Kind: "full", Total: 7 * time.Microsecond},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("read %+v, %v", got, err)
	}
	for _, wrong := range []string{"some\n", "some total=\n", "some total=-1\n", "some total=x\n", "some total=9999999999999999999\n"} {
		if got, err := parsePressure("machine", "io", wrong); err == nil {
			t.Errorf("%q was read as %+v", wrong, got)
		}
	}
}

// A group of the unified tree has one file a resource, and older kernels lack some.
func TestAGroupsPressureIsItsOwn(t *testing.T) {
	d := &v2{parent: t.TempDir()}
	if got, err := d.Pressure(); err != nil || len(got) > 0 {
		t.Errorf("a kernel without pressure: %+v, %v", got, err)
	}
	file := filepath.Join(d.parent, "memory.pressure")
	if err := os.WriteFile(file, []byte("some avg10=0 avg60=0 avg300=0 total=3\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := d.Pressure()
	want := isolation.Stall{Scope: "containers", Resource: "memory", Kind: "some", Total: 3 * time.Microsecond}
	if err != nil || len(got) != 1 || got[0] != want {
		t.Errorf("read %+v, %v", got, err)
	}
}

func TestThisMachinesPressureIsReadWhereThereIsAny(t *testing.T) {
	got, err := MachinePressure()
	if err != nil {
		t.Fatal(err)
	}
	_, absent := os.ReadFile(filepath.Join(pressureDir, "memory"))
	if has := slices.ContainsFunc(got, func(s isolation.Stall) bool { return s.Resource == "memory" }); has != (absent == nil) {
		t.Errorf("read %+v; the kernel's file: %v", got, absent)
	}
}
