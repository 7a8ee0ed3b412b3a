package agent

import (
	"errors"
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

// Either record of the identity is enough, what was found is said, and the other
// is whole again afterwards; without both nothing is guessed.
func TestTheNodesIdentityOutlivesADamagedRecord(t *testing.T) {
	for _, damaged := range []string{nodeRecord, nodeCopy} {
		for how, harm := range map[string]func(path string) error{
			"a flipped bit": func(path string) error {
				content, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				content[len(content)/3] ^= 1
				return os.WriteFile(path, content, 0o600)
			},
			"a truncation": func(path string) error { return os.Truncate(path, 5) },
		} {
			folder := t.TempDir()
			id := func() (string, []string) {
				t.Helper()
				s, err := openState(folder, "")
				if err != nil {
					t.Fatal(err)
				}
				s.close()
				return s.node.ID, s.notes
			}
			was, _ := id()
			if err := harm(filepath.Join(folder, damaged)); err != nil {
				t.Fatal(err)
			}
			now, notes := id()
			if now != was || len(notes) != 1 || !strings.Contains(notes[0], filepath.Join(folder, damaged)) {
				t.Errorf("after %s of %s the node is %s, was %s; said is %q", how, damaged, now, was, notes)
			}
			if again, notes := id(); again != was || len(notes) > 0 {
				t.Errorf("after that, it is %s, and says %q", again, notes)
			}
			for _, both := range []string{nodeRecord, nodeCopy} {
				if err := harm(filepath.Join(folder, both)); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := openState(folder, ""); err == nil || !strings.Contains(err.Error(), "both records of it are damaged") {
				t.Errorf("without both, the error is %v", err)
			}
		}
	}
}

// What a newer agent wrote, and this one could only harm, is refused and left as
// it is; what is merely more than is known is passed over.
func TestAStateFolderOfANewerFormatIsRefusedAndLeftAlone(t *testing.T) {
	folder := t.TempDir()
	newer := map[string]any{"id": "abcdefghijk", "pool": "10.9.0.0/16", "uid_base": 7, "format": stateFormat + 1}
	for _, name := range []string{nodeRecord, nodeCopy} {
		if err := record.Save(folder, name, newer); err != nil {
			t.Fatal(err)
		}
	}
	before, err := os.ReadFile(filepath.Join(folder, nodeRecord))
	if err != nil {
		t.Fatal(err)
	}
	_, err = openState(folder, "")
	if _, refused := errors.AsType[*StateFormatError](err); !refused || !strings.Contains(err.Error(), "start that one again") {
		t.Errorf("error is %v, want a StateFormatError with the remedy", err)
	}
	if after, err := os.ReadFile(filepath.Join(folder, nodeRecord)); err != nil || string(after) != string(before) {
		t.Errorf("the record was touched: %q, %v", after, err)
	}
	newer["format"], newer["from the future"] = stateFormat, []int{1, 2}
	for _, name := range []string{nodeRecord, nodeCopy} {
		if err := record.Save(folder, name, newer); err != nil {
			t.Fatal(err)
		}
	}
	s, err := openState(folder, "")
	if err != nil || s.node.ID != "abcdefghijk" || s.node.UIDBase != 7 || len(s.notes) > 0 {
		t.Fatalf("a field that is not known: %+v, %v", s, err)
	}
	s.close()
}
