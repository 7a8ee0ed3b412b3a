package contract

import (
	"fmt"
	"strings"
	"testing"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/testsuite/model"
)

// onModel is the model machine.
type onModel struct {
	kernel *model.Kernel
	ids    *int
}

func (m onModel) Kernel() Kernel { return m.kernel }

func (m onModel) Spec(slot uint32) isolation.Spec {
	*m.ids++
	return isolation.Spec{ID: fmt.Sprint("c", *m.ids), Slot: slot, Epoch: 1, Owner: isolation.OwnerInstance,
		Limits: isolation.Limits{MemoryBytes: 64 << 20, CPUShares: 64}}
}

// behaviours are the suite's jobs in the model's words.
var behaviours = map[Does]string{Sleeps: "deaf", Stubborn: "stubborn", ExitsIn7: "exit 7", Listens: "serve"}

func (m onModel) Job(number uint32, does Does) isolation.Job {
	return isolation.Job{Number: number, Argv: strings.Fields(behaviours[does])}
}

func (m onModel) KillInit(s isolation.Status) { m.kernel.KillInit(s.Spec.ID) }

func TestTheModelKeepsTheContract(t *testing.T) {
	Suite(t, func(t *testing.T) Machine {
		m := onModel{model.NewKernel(), new(int)}
		t.Cleanup(func() {
			for _, v := range m.kernel.Violations() {
				t.Error("a promise is broken:", v)
			}
		})
		return m
	})
}
