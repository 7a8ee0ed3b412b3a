package stack

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestAStackIsMadeWholeAndToldOf(t *testing.T) {
	s := newStage(t)
	m := s.must("a", file("x", "xx"), dir("etc"), file("etc/passwd", "root:x:0:0::/:/bin/sh"))
	if m.Bytes < 2 || m.Files < 10 || !strings.HasPrefix(m.Digest, "sha256:") || m.Created.IsZero() {
		t.Errorf("the manifest is %+v", m)
	}
	if want := []string{"vcap in /etc/passwd", "vcap in /etc/group", "/home/vcap/app", "/app", "/tmp"}; !subset(want, m.Added) {
		t.Errorf("added is %q, want %q among it", m.Added, want)
	}
	if len(m.Notes) == 0 || !strings.Contains(m.Notes[0], "no /bin/sh") {
		t.Errorf("the notes are %q", m.Notes)
	}
	s.has("a", "etc/passwd", "root:x:0:0::/:/bin/sh\nvcap:x:2000:2000:vcap:/home/vcap:/bin/bash\n")
	if st := s.stat("a", "home/vcap/app"); st.Uid != vcapID || st.Gid != vcapID {
		t.Errorf("app belongs to %d:%d", st.Uid, st.Gid)
	}
	if st := s.stat("a", "tmp"); st.Mode&0o7777 != 0o1777 {
		t.Errorf("tmp is %o", st.Mode)
	}
	entries, unfinished, err := s.List()
	if err != nil || len(entries) != 1 || len(unfinished) != 0 || entries[0].Digest != m.Digest || entries[0].Path != s.Tree("a") {
		t.Errorf("listed is %+v, %+v, %v", entries, unfinished, err)
	}
	other := s.must("b", dir("etc"), file("etc/passwd", "vcap:x:1000:1000::/srv:/bin/sh\n"))
	for _, want := range []string{"vcap has the number 1000", "the home of vcap is /srv"} {
		if !strings.Contains(strings.Join(other.Notes, "\n"), want) {
			t.Errorf("the notes %q don't have %q", other.Notes, want)
		}
	}
}

func subset(want, all []string) bool {
	return !slices.ContainsFunc(want, func(w string) bool { return !slices.Contains(all, w) })
}

func TestANameIsTakenOnceAndTwoDontMakeTheSame(t *testing.T) {
	s := newStage(t)
	s.must("a", file("x", ""))
	_, err := s.imports("a", archiveOf(t, file("y", "")))
	if exists, is := errors.AsType[*ExistsError](err); !is || exists.Name != "a" {
		t.Errorf("the error is %v", err)
	}
	w, err := s.begin("b")
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.imports("b", archiveOf(t, file("y", "")))
	if _, is := errors.AsType[*BusyError](err); !is {
		t.Errorf("the error is %v", err)
	}
	s.must("c", file("z", "")) // and nobody else is held up, nor sweeps what is being made
	_, unfinished, err := s.List()
	if err != nil || len(unfinished) != 1 || !unfinished[0].Alive || unfinished[0].Name != "b" {
		t.Errorf("unfinished is %+v, %v", unfinished, err)
	}
	if err := w.abandon(nil); err != nil {
		t.Error(err)
	}
	s.nothingLeft("a", "c")
	for _, bad := range []string{"", ".", "..", "a/b", ".new-a", "host", "host-1", "new-1", "a b", strings.Repeat("a", 65)} {
		if _, err := s.imports(bad, archiveOf(t, file("y", ""))); !errors.Is(err, ErrName) {
			t.Errorf("%q: the error is %v", bad, err)
		}
	}
}

func TestWhatAKilledCommandLeftIsSweptByTheNext(t *testing.T) {
	s := newStage(t)
	for _, left := range []string{".new-a/tree/etc", ".new-b", ".gone-c/tree"} {
		if err := os.MkdirAll(filepath.Join(s.dir, left), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	_, unfinished, err := s.List()
	if err != nil || len(unfinished) != 3 || unfinished[0].Alive {
		t.Errorf("unfinished is %+v, %v", unfinished, err)
	}
	s.must("a", file("x", ""))
	s.nothingLeft("a")
}

func TestWhatIsMountedInsideIsNeverRemoved(t *testing.T) {
	s := newStage(t)
	at := filepath.Join(s.dir, ".new-a", treeName, "dev")
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("deacon-test", at, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	_, err := s.imports("b", archiveOf(t, file("x", "")))
	failed := unix.Unmount(at, 0)
	expect(t, err, "something is mounted at "+at)
	if failed != nil {
		t.Fatal(failed)
	}
	s.must("b", file("x", ""))
	s.nothingLeft("b")
}

func TestAFullDiskLeavesNothing(t *testing.T) {
	s := newStage(t)
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("deacon-test", s.dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(s.dir, unix.MNT_DETACH)
	if _, err := s.imports("a", archiveOf(t, file("x", strings.Repeat("x", 2<<20)))); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("the error is %v", err)
	}
	s.nothingLeft()
	s.must("a", file("x", "x"))
}

func TestAStackInUseIsNotRemoved(t *testing.T) {
	s := newStage(t)
	s.must("a", file("x", "x"))
	s.users = []string{"container 1 of the instance i"}
	err := s.Remove("a")
	if used, is := errors.AsType[*UsedError](err); !is || used.Users[0] != s.users[0] {
		t.Errorf("the error is %v", err)
	}
	s.users = nil
	held, err := Hold(s.Tree("a"))
	if err != nil {
		t.Fatal(err)
	}
	expect(t, s.Remove("a"), "the agent that runs")
	held.Close()
	// Somebody comes while it is removed.
	s.asked, s.later = 0, []string{"container 2"}
	expect(t, s.Remove("a"), "container 2")
	s.has("a", "x", "x")
	s.later = nil
	if err := s.Remove("a"); err != nil {
		t.Error(err)
	}
	s.nothingLeft()
	if err := s.Remove("a"); !errors.Is(err, ErrUnknown) {
		t.Errorf("the error is %v", err)
	}
	if _, err := Hold(s.Tree("a")); err == nil {
		t.Error("a stack that is gone was held")
	}
	if held, err := Hold("/usr"); err != nil || held.Close() != nil {
		t.Errorf("a folder of somebody else's: %v", err)
	}
}

func TestAKilledRemovalIsUndoneWhereSomebodyCameMeanwhile(t *testing.T) {
	s := newStage(t)
	aside := func() {
		t.Helper()
		if err := os.Rename(filepath.Join(s.dir, "a"), filepath.Join(s.dir, oldPrefix+"a")); err != nil {
			t.Fatal(err)
		}
	}
	s.must("a", file("x", "x"))
	aside()
	s.users = []string{"container 1"}
	s.must("b", file("y", ""))
	s.has("a", "x", "x")
	aside()
	s.users = nil
	s.must("c", file("z", ""))
	s.nothingLeft("b", "c")
}

func TestEveryDifferenceIsFoundAndNamed(t *testing.T) {
	s := newStage(t)
	s.must("a", file("content", "1"), file("mode", "1"), file("owner", "1"), file("gone", "1"), symlink("link", "x"),
		file("time", "1"), dir("d"), file("attribute", "1"), file("same", "1"), file("odd \"\n name", "1"))
	at := func(name string) string { return filepath.Join(s.Tree("a"), name) }
	for _, err := range []error{
		os.WriteFile(at("content"), []byte("2"), 0o644), os.Chmod(at("mode"), 0o600), os.Chown(at("owner"), 1, 0),
		os.Remove(at("gone")), os.Remove(at("link")), os.Symlink("y", at("link")), os.Chtimes(at("time"), time.Unix(1, 0), time.Unix(1, 0)),
		os.WriteFile(at("d/new"), nil, 0o600), unix.Lsetxattr(at("attribute"), "security.capability", []byte(capability), 0),
		os.WriteFile(at("odd \"\n name"), []byte("2"), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	_, differences, err := s.Verify(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	want := []Difference{
		{"/attribute", "changed"}, {"/content", "changed"}, {"/d/new", "added"}, {"/link", "changed"}, {"/mode", "changed"},
		{"/odd \"\n name", "changed"}, {"/owner", "changed"}, {"/gone", "missing"},
	}
	if !slices.Equal(differences, want) {
		t.Errorf("the differences are %v, want %v", differences, want)
	}
}

func TestADamagedManifestOrListIsSaid(t *testing.T) {
	for name, harm := range map[string]func(folder string) error{
		"it has no manifest":    func(f string) error { return os.Remove(f + "/manifest") },
		"is damaged":            func(f string) error { return os.WriteFile(f+"/manifest", []byte("{"), 0o600) },
		`that of the stack "b"`: func(f string) error { return os.WriteFile(f+"/manifest", []byte(`{"name":"b"}`), 0o600) },
		"is no manifest":        func(f string) error { return os.Truncate(f+"/manifest", manifestMax+1) },
		"the list of files":     func(f string) error { return os.Truncate(f+"/files", 0) },
		"no such file":          func(f string) error { return os.Remove(f + "/files") },
	} {
		s := newStage(t)
		s.must("a", file("x", ""))
		if err := harm(filepath.Join(s.dir, "a")); err != nil {
			t.Fatal(err)
		}
		_, _, err := s.Verify(t.Context(), "a")
		expect(t, err, name)
		entries, _, err := s.List()
		if err != nil || len(entries) != 1 {
			t.Errorf("listed is %+v, %v", entries, err)
		} else if strings.Contains(name, "manifest") && entries[0].Fault == "" {
			t.Errorf("%s: the list says of no fault", name)
		}
		if err := s.Remove("a"); err != nil {
			t.Error(err)
		}
	}
}

func TestABuildSaysWhatIsMissingOrCantBe(t *testing.T) {
	_, err := find("deacon-has-no-such-program")
	missing, is := errors.AsType[*MissingError](err)
	if !is || missing.Remedy != "install it: apt-get install deacon-has-no-such-program" {
		t.Errorf("the error is %v", err)
	}
	for want, o := range map[string]Build{
		`"--help" can't be the name of a suite`:    {Suite: "--help"},
		`"a b" can't be the name of a variant`:     {Variant: "a b"},
		`"-x" can't be the name of a package`:      {Suite: "x", Packages: []string{"-x"}},
		"the keyring: signed-by: stat /nowhere.gp": {Suite: "x", Mirror: "http://mirror.example", Keyring: "/nowhere.gpg"},
	} {
		_, _, err := o.plan()
		expect(t, err, want)
	}
}

func TestTheWorkOfDebootstrapIsToldInPhases(t *testing.T) {
	var told []string
	var log strings.Builder
	p := &phases{log: &log, progress: func(line string) { told = append(told, line) }}
	const said = "I: Retrieving InRelease \nI: Retrieving adduser 3.1\nI: Validating adduser 3.1\nW: odd\n" +
		"I: Unpacking libc6...\nI: Configuring libc6...\nI: Base system installed successfully.\nE: no"
	for i := 0; i < len(said); i += 7 {
		p.Write([]byte(said[i:min(i+7, len(said))]))
	}
	want := []string{"retrieving packages", "W: odd", "unpacking packages", "configuring packages"}
	if !slices.Equal(told, want) || log.String() != said {
		t.Errorf("told was %q, want %q; the log is %q", told, want, log.String())
	}
	if got := lastLines([]byte("a\nb\nc\n"), 2); got != "  b\n  c" {
		t.Errorf("the last lines are %q", got)
	}
}

func TestAListingEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := list(ctx, t.TempDir(), func(_, _ string) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}
