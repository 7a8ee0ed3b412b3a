package agent

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deacon-agent/deacon/isolation/record"
)

const uidBase = 1 << 20

var pool = netip.MustParsePrefix("10.254.0.0/16")

// stateWith opens a state folder and settles its plan, as an agent's start does.
func stateWith(t *testing.T, path string, pool netip.Prefix, uidBase uint32) (*state, error) {
	t.Helper()
	s, err := openState(path, "")
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	return s, s.settle(pool, uidBase)
}

func withAContainer(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(path, "containers", "abcdefghijk"), 0o711); err != nil {
		t.Fatal(err)
	}
}

func TestThePlanDoesNotChangeUnderContainers(t *testing.T) {
	path := t.TempDir()
	if _, err := stateWith(t, path, pool, uidBase); err != nil {
		t.Fatal(err)
	}
	withAContainer(t, path)
	if _, err := stateWith(t, path, pool, uidBase); err != nil {
		t.Error("with the same plan:", err)
	}
	other := netip.MustParsePrefix("10.253.0.0/16")
	for _, c := range []struct {
		pool    netip.Prefix
		uidBase uint32
		want    string
	}{
		{other, uidBase, "network.pool is 10.253.0.0/16, but they were made with 10.254.0.0/16; start with"},
		{pool, 2 * uidBase, "node.uid_base is 2097152, but they were made with 1048576; start with"},
	} {
		if _, err := stateWith(t, path, c.pool, c.uidBase); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q in it", err, c.want)
		}
	}
	if _, err := stateWith(t, path, pool, uidBase); err != nil {
		t.Error("with the same plan, after others were refused:", err)
	}
	if err := os.Remove(filepath.Join(path, "containers", "abcdefghijk")); err != nil {
		t.Fatal(err)
	}
	if _, err := stateWith(t, path, other, 2*uidBase); err != nil {
		t.Error("without containers:", err)
	}
	withAContainer(t, path)
	if _, err := stateWith(t, path, pool, uidBase); err == nil {
		t.Error("the new plan was not recorded")
	}
}

// The containers of an older agent, whose record has no plan, are taken to be
// of the plan that the configuration has at the first start.
func TestAnOldRecordIsCompleted(t *testing.T) {
	path := t.TempDir()
	if err := record.Save(path, "node", map[string]string{"id": "abcdefghijk"}); err != nil {
		t.Fatal(err)
	}
	withAContainer(t, path)
	if s, err := stateWith(t, path, pool, uidBase); err != nil || s.node.ID != "abcdefghijk" {
		t.Fatalf("node %+v, %v", s.node, err)
	}
	if _, err := stateWith(t, path, pool, 2*uidBase); err == nil {
		t.Error("the plan was not recorded")
	}
}
