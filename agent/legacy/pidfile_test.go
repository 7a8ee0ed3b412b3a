package legacy_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/deacon-agent/deacon/agent/legacy"
)

func TestThePIDFileLivesAsLongAsTheProcessWantsIt(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "warden.pid")
	if err := os.WriteFile(path, []byte("1\n"), 0o600); err != nil { // of one that died
		t.Fatal(err)
	}
	file, err := legacy.WritePIDFile(path)
	if err != nil {
		t.Fatal(err)
	}
	body, err := os.ReadFile(path)
	if want := strconv.Itoa(os.Getpid()) + "\n"; string(body) != want || err != nil {
		t.Errorf("the file has %q, %v; want %q", body, err, want)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o644 {
		t.Errorf("the file is %v, %v; want it readable for everybody", info, err)
	}
	for range 2 { // removing what is gone is success
		if err := file.Remove(); err != nil {
			t.Error(err)
		}
	}
	if left, _ := os.ReadDir(folder); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
}

func TestASuccessorsPIDFileIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "warden.pid")
	file, err := legacy.WritePIDFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := file.Remove(); err != nil {
		t.Error(err)
	}
	if body, err := os.ReadFile(path); string(body) != "1\n" {
		t.Errorf("the successor's file has %q, %v", body, err)
	}
}

func TestAPIDFileThatCannotBeWrittenLeavesNothing(t *testing.T) {
	folder := t.TempDir()
	if _, err := legacy.WritePIDFile(filepath.Join(folder, "missing", "pid")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error is %v, want one that says that the folder is missing", err)
	}
	taken := filepath.Join(folder, "taken", "inside")
	if err := os.MkdirAll(taken, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := legacy.WritePIDFile(filepath.Dir(taken)); err == nil {
		t.Error("a folder was replaced by a pid file")
	}
	if left, _ := os.ReadDir(folder); len(left) != 1 {
		t.Errorf("%v is left", left)
	}
}
