package stacks

import (
	"os"
	"path/filepath"
	"testing"
)

// Nothing is fetched here: the mirror is a folder that isn't there, or is empty.
func TestABuildThatFailsShowsWhatDebootstrapSaidAndLeavesItsLog(t *testing.T) {
	s := newStage(t)
	mirror := "file://" + t.TempDir()
	s.refused("Failed getting release file "+mirror, "build", "bad", "--suite", "bookworm", "--mirror", mirror)
	log := filepath.Join(s.state(), "stacks", ".log-bad")
	s.refused("All of it is in "+log, "build", "bad", "--suite", "bookworm", "--mirror", mirror)
	if _, err := os.Stat(log); err != nil {
		t.Error(err)
	}
	s.refused("No such script", "build", "bad", "--suite", "nosuchsuite", "--mirror", mirror)
	if l := s.list(); len(l.Stacks) != 0 || len(l.Unfinished) != 0 {
		t.Errorf("there is %+v", l)
	}
}
