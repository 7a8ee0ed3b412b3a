package watch

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func told(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(5 * time.Second):
		t.Fatal(what, "is not told")
	}
}

func TestWhatBecomesOfAnOpenFileIsTold(t *testing.T) {
	dir := t.TempDir()
	writer, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	file, err := os.Open(writer.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w, err := File(file)
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		writer.WriteString("line\n")
	}
	told(t, w.Changed(), "a write")
	if err := os.Rename(writer.Name(), filepath.Join(dir, "log.1")); err != nil {
		t.Fatal(err)
	}
	told(t, w.Moved(), "a rename")
	writer.WriteString("one more\n")
	told(t, w.Changed(), "a write after the rename")
	if err := os.Remove(filepath.Join(dir, "log.1")); err != nil {
		t.Fatal(err)
	}
	told(t, w.Moved(), "a removal")
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

// Who is told of nothing does not wait for it.
func TestAWatchThatNobodyReadsEnds(t *testing.T) {
	writer, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	w, err := File(writer)
	if err != nil {
		t.Fatal(err)
	}
	for range 100_000 {
		writer.WriteString("x")
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func TestAFileThatIsClosedIsNotWatched(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	file.Close()
	if w, err := File(file); err == nil {
		t.Error("it is watched")
		w.Close()
	}
}
