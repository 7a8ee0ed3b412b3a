package box

import (
	"fmt"
	"os/exec"
	"testing"
)

// A PID 1 that was being prepared when the node left finds its gate closed, a
// moment after: the node's own groups wait for it.
func TestTheNodesGroupsWaitForWhatIsGoing(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	join, err := b.cgroups.InitJoin()
	if err != nil {
		t.Fatal(err)
	}
	defer join.Close()
	if len(join.Tasks) == 0 {
		m.end(b)
		t.Skip("SKIPPED: on cgroup v2 no PID 1 is prepared")
	}
	going := exec.Command("sleep", "0.3")
	if err := going.Start(); err != nil {
		t.Fatal(err)
	}
	for _, tasks := range join.Tasks {
		if _, err := fmt.Fprint(tasks, going.Process.Pid); err != nil {
			t.Fatal(err)
		}
	}
	go going.Wait()
	m.end(b)
}
