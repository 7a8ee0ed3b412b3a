package settings

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"
)

type file struct {
	Pause *hcl.Attribute `hcl:"pause,optional"`
	Count *hcl.Attribute `hcl:"count,optional"`
	Room  *hcl.Attribute `hcl:"room,optional"`
}

func TestWhatIsGivenArrivesAndWhatIsNotStays(t *testing.T) {
	t.Setenv("PAUSE", "3s")
	pause, count, room := time.Minute, uint64(7), int64(5)
	_, err := Parse("x.hcl", []byte("pause = env(\"PAUSE\")\nroom = \"2 KiB\""), func(f *file, r *Reader) {
		r.Duration(f.Pause, &pause, 0, time.Hour)
		Whole(r, f.Count, &count, 0, 9)
		r.Size(f.Room, &room, 0, 1<<20)
	})
	if err != nil || pause != 3*time.Second || count != 7 || room != 2048 {
		t.Errorf("%s, %d, %d, %v", pause, count, room, err)
	}
}

func TestFaultsComeTogetherInTheFilesOrder(t *testing.T) {
	_, err := Parse("x.hcl", []byte("room = \"12\"\ncount = 1.5\n"), func(f *file, r *Reader) {
		count, room := 0, int64(0)
		Whole(r, f.Count, &count, 0, 9)
		r.Size(f.Room, &room, 0, 1<<20)
		r.Lack("No pause", "Say one.")
	})
	wrong, ok := errors.AsType[*Error](err)
	if !ok || wrong.Count != 3 || !strings.HasPrefix(err.Error(), "3 errors in x.hcl:") {
		t.Fatalf("error %v", err)
	}
	last := 0
	for _, text := range []string{"Say one.", `Did you mean "12MiB"?`, "x.hcl line 2", "whole number from 0 to 9"} {
		at := strings.Index(wrong.Text, text)
		if at < last {
			t.Errorf("%q is at %d, after %d:\n%s", text, at, last, wrong.Text)
		}
		last = at
	}
}

func TestTheNearestWordIsSuggested(t *testing.T) {
	words := []string{"nats-slow", "nats-killed", "init-killed", "err"}
	for given, want := range map[string]string{
		"init-kiled": "init-killed", "slow": "nats-slow", "NATS-killd": "nats-killed", "error": "err",
		"x": "", "": "", "something": "",
	} {
		if got := Suggest(given, words); (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", given, got, want)
		}
	}
}

func TestAFileThatIsTooLargeIsNotRead(t *testing.T) {
	name := filepath.Join(t.TempDir(), "large.hcl")
	if err := os.WriteFile(name, make([]byte, bytesMax+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(name); err == nil || !strings.Contains(err.Error(), name+" is larger than 1048576 bytes") {
		t.Errorf("error %v", err)
	}
}
