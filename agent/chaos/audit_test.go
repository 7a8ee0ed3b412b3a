package chaos

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A group that is gone in one hierarchy limits nothing there, however many are
// left in others.
func TestAGroupIsLookedForInEveryHierarchy(t *testing.T) {
	root := t.TempDir()
	var trees []string
	for tree, groups := range map[string][]string{"memory": {"s1.1", "s2.1"}, "pids": {"s1.1", "s3.1", "init"}} {
		tree = filepath.Join(root, tree, "node")
		trees = append(trees, tree)
		for _, group := range groups {
			if err := os.MkdirAll(filepath.Join(tree, group), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	var a Audit
	if err := a.lookIn(trees, map[string]bool{"s1.1": true, "s2.1": true}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(a.Odd)
	want := []string{"cgroup pids/s2.1 is missing", "cgroup pids/s3.1 belongs to no container"}
	if a.Groups != 3 || !slices.Equal(a.Odd, want) {
		t.Errorf("%d groups, odd: %q", a.Groups, a.Odd)
	}
}
