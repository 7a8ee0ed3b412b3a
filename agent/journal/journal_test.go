package journal

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func put(name, value string) Change { return Change{Name: name, Value: []byte(value)} }

func forget(name string) Change { return Change{Name: name} }

type said map[string]string

// opened is what whoever opens the journal next finds.
func opened(t *testing.T, path string) (*Journal, said, []string) {
	t.Helper()
	j, values, notes, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.file.Close() })
	found := said{}
	for name, value := range values {
		found[name] = string(value)
	}
	return j, found, notes
}

func mustAppend(t *testing.T, j *Journal, changes ...Change) {
	t.Helper()
	if err := j.Append(changes); err != nil {
		t.Fatal(err)
	}
}

func TestWhatWasAppendedIsFoundByWhoeverOpensItNext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j, found, _ := opened(t, path)
	if len(found) != 0 {
		t.Errorf("a new journal says %v", found)
	}
	mustAppend(t, j, put("a", `{"x":1}`), put("b", `"- b"`))
	mustAppend(t, j, put("a", `{"x":2}`), put("c", `3`), forget("never"))
	mustAppend(t, j, forget("c"))
	mustAppend(t, j)
	again, found, notes := opened(t, path) // nobody closed the first, as after a kill
	if diff := cmp.Diff(said{"a": `{"x":2}`, "b": `"- b"`}, found); diff != "" || len(notes) > 0 {
		t.Error("(-want +got):\n", diff, notes)
	}
	mustAppend(t, again, forget("b"))
	if _, found, _ := opened(t, path); len(found) != 1 {
		t.Errorf("found %v", found)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v, %v: others may read it", info.Mode(), err)
	}
}

// Wherever a write was cut, all before it holds, and what follows is written
// behind that.
func TestATornEndIsCutOff(t *testing.T) {
	folder := t.TempDir()
	whole, err := lines([]Change{put("a", "1"), put("b", "2")})
	if err != nil {
		t.Fatal(err)
	}
	begun, _ := lines([]Change{put("a", `"torn"`)})
	for cut := range begun {
		path := filepath.Join(folder, fmt.Sprint(cut))
		if err := os.WriteFile(path, append(bytes.Clone(whole), begun[:cut]...), 0o600); err != nil {
			t.Fatal(err)
		}
		j, found, notes := opened(t, path)
		if diff := cmp.Diff(said{"a": "1", "b": "2"}, found); diff != "" || len(notes) > 0 {
			t.Fatalf("cut at %d: %s %q", cut, diff, notes)
		}
		mustAppend(t, j, put("c", "3"))
		if _, found, notes := opened(t, path); found["c"] != "3" || len(found) != 3 || len(notes) > 0 {
			t.Fatalf("cut at %d, then: %v, %q", cut, found, notes)
		}
	}
}

// One bit of the disk costs at most the lines it touches; it is told, the file
// as it was is kept, and the next reader finds a journal without damage.
func TestAFlippedBitCostsItsLineAndIsSaid(t *testing.T) {
	folder := t.TempDir()
	whole, _ := lines([]Change{put("aa", `{"s":"hunter2"}`), put("bb", "2"), put("cc", "3"), put("bb", "4")})
	lineOf := func(at int) int { return bytes.Count(whole[:at], []byte("\n")) }
	full := said{"aa": `{"s":"hunter2"}`, "bb": "4", "cc": "3"}
	of := []string{"aa", "bb", "cc", "bb"}
	for at := range whole {
		for bit := range 8 {
			flipped := bytes.Clone(whole)
			flipped[at] ^= 1 << bit
			path := filepath.Join(folder, fmt.Sprint(at, "-", bit))
			if err := os.WriteFile(path, flipped, 0o600); err != nil {
				t.Fatal(err)
			}
			j, found, notes := opened(t, path)
			lost := map[string]bool{of[lineOf(at)]: true}
			if whole[at] == '\n' && lineOf(at)+1 < len(of) {
				lost[of[lineOf(at)+1]] = true
			}
			for name, value := range full {
				if found[name] != value && !lost[name] {
					t.Fatalf("bit %d of byte %d: %s is %q", bit, at, name, found[name])
				}
			}
			if at == len(whole)-1 {
				continue // a torn end
			}
			if len(notes) == 0 || strings.Contains(strings.Join(notes, ""), "hunter2") {
				t.Fatalf("bit %d of byte %d: notes are %q", bit, at, notes)
			}
			if kept, err := os.ReadFile(path + damagedSuffix); err != nil || !bytes.Equal(kept, flipped) {
				t.Fatalf("what was damaged wasn't kept: %v", err)
			}
			if !j.Wordy() {
				t.Fatal("a damaged journal isn't to be written anew")
			}
		}
	}
	path := filepath.Join(folder, "0-0")
	j, found, notes := opened(t, path)
	want := "line 1 of " + path + " is damaged (it seems to be of aa, of which the line before holds) and was passed over; " +
		"what the journal was is in " + path + ".damaged"
	if len(notes) != 1 || notes[0] != want {
		t.Errorf("notes are %q\nwant %q", notes, want)
	}
	if err := j.Rewrite([]Change{put("bb", found["bb"])}); err != nil {
		t.Fatal(err)
	}
	if _, found, notes := opened(t, path); len(notes) > 0 || len(found) != 1 {
		t.Errorf("after it was written anew: %v, %q", found, notes)
	}
}

func TestAWordyJournalIsWrittenAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j, _, _ := opened(t, path)
	value := `"` + strings.Repeat("x", 10_000) + `"`
	for !j.Wordy() {
		mustAppend(t, j, put("a", value))
		if j.size > 2*wordyAt {
			t.Fatalf("%d bytes for one value, and not wordy", j.size)
		}
	}
	if err := os.WriteFile(path+newSuffix, []byte("half done"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := j.Rewrite([]Change{put("a", value), put("b", "2")}); err != nil {
		t.Fatal(err)
	}
	if j.Wordy() || j.size > 11_000 {
		t.Errorf("wordy: %t, %d bytes", j.Wordy(), j.size)
	}
	mustAppend(t, j, put("c", "3"))
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, found, _ := opened(t, path); len(found) != 3 || found["a"] != value {
		t.Errorf("found %d values", len(found))
	}
	if names, _ := filepath.Glob(path + "*"); len(names) != 1 {
		t.Errorf("left are %q", names)
	}
}

func TestAChangeThatCannotBeWrittenIsRefusedWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j, _, _ := opened(t, path)
	for _, name := range []string{"", "a b", "a\n", "../a", ".a", strings.Repeat("x", 101)} {
		err := j.Append([]Change{put("good", "1"), put(name, "2")})
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", name)) {
			t.Errorf("%q: error is %v", name, err)
		}
	}
	large := Change{Name: "large", Value: make([]byte, ValueMax+1)}
	if err := j.Rewrite([]Change{large}); err == nil || len(err.Error()) > 200 {
		t.Errorf("error is %.200v", err)
	}
	if _, found, _ := opened(t, path); len(found) != 0 {
		t.Errorf("found %v", found)
	}
}

// FuzzRead: whatever is in the file, it is opened, and what was appended then is found.
func FuzzRead(f *testing.F) {
	whole, _ := lines([]Change{put("a", `{"x":1}`), forget("a"), put("b", "2")})
	f.Add(whole)
	f.Add([]byte("00000000 a -\n\n\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "j")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		j, before, _ := opened(t, path)
		mustAppend(t, j, put("mine", `"here"`))
		_, after, _ := opened(t, path)
		before["mine"] = `"here"`
		if diff := cmp.Diff(before, after); diff != "" {
			t.Error("(-before +after):\n", diff)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	j, _, _, err := Open(filepath.Join(b.TempDir(), "j"))
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	change := []Change{put("instance", `"`+strings.Repeat("x", 2000)+`"`)}
	for b.Loop() {
		if err := j.Append(change); err != nil {
			b.Fatal(err)
		}
		if j.Wordy() {
			if err := j.Rewrite(change); err != nil {
				b.Fatal(err)
			}
		}
	}
}
