package staging

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Ino
}

func TestASecondFetchCopiesNothing(t *testing.T) {
	c, s := openCache(t, Options{}), newStore(t)
	source := s.add(gzipped(t, droplet(t, "start_command: ./run\n")))
	first := mustFetch(t, c, source)
	file := filepath.Join(first.Layer, vcapHome, "app/run")
	was := inode(t, file)
	source.URI = "" // what is here needs no source

	again := mustFetch(t, c, source)
	reopened, err := Open(c.dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	later := mustFetch(t, reopened, source)

	if again != first || later != first {
		t.Errorf("got %+v and %+v after %+v", again, later, first)
	}
	if now := inode(t, file); now != was || s.asked.Load() != 1 {
		t.Errorf("inode %d became %d, %d downloads", was, now, s.asked.Load())
	}
}

func TestADropletSaysHowItStarts(t *testing.T) {
	startScript := append(tarOf(t), tarOf(t, ordinary()...)...) // an archive's end ends it
	first := tarOf(t, append(ordinary(), header("./startup", 0o644))...)
	c, s := openCache(t, Options{}), newStore(t)
	for name, test := range map[string]struct {
		content []byte
		command string
		startup bool
	}{
		"command":        {droplet(t, "start_command: \"./run --port $PORT\"\n"), "./run --port $PORT", false},
		"several lines":  {droplet(t, "start_command: |\n  a\n  b\n"), "a\nb\n", false},
		"json":           {droplet(t, `{"start_command": "run", "unknown": [1]}`), "run", false},
		"null":           {droplet(t, "start_command: null\n"), "", false},
		"none":           {droplet(t, "---\ndetected_buildpack: x\n"), "", false},
		"nothing in it":  {droplet(t, ""), "", false},
		"no description": {tarOf(t, ordinary()...), "", false},
		"G1":             {first, "", true},
	} {
		d := mustFetch(t, c, s.add(test.content))
		if d.StartCommand != test.command || d.Startup != test.startup {
			t.Errorf("%s: got %q, %v; want %q, %v", name, d.StartCommand, d.Startup, test.command, test.startup)
		}
		if !test.startup {
			continue
		}
		script, err := os.Stat(filepath.Join(d.Layer, vcapHome, startup))
		if err != nil || script.Mode() != 0o744 {
			t.Errorf("%s: the start script is %v, %v; want it executable", name, script, err)
		}
	}
	if _, err := c.Fetch(t.Context(), s.add(startScript)); err == nil {
		t.Error("an archive that is empty, with another behind it, became a droplet")
	}
}

func TestAWrongDescriptionIsCalledThat(t *testing.T) {
	c, s := openCache(t, Options{}), newStore(t)
	for name, text := range map[string]string{
		"no yaml":   "start_command: [",
		"a list":    "- start_command\n",
		"a mapping": "start_command: {a: b}\n",
		"zero byte": "start_command: \"a\\0b\"\n",
		"aliases": "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n" +
			"c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n" +
			"e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nstart_command: *e\n",
	} {
		_, err := c.Fetch(t.Context(), s.add(droplet(t, text)))
		if err == nil || !strings.Contains(err.Error(), infoName+" is wrong") {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	expectNothing(t, c)
}

func TestWhatIsDamagedIsFetchedAgain(t *testing.T) {
	for name, damage := range map[string]func(folder string) error{
		"no record": func(f string) error { return os.Remove(filepath.Join(f, recordName)) },
		"no layer":  func(f string) error { return os.RemoveAll(filepath.Join(f, layerName)) },
		"no application": func(f string) error {
			return os.RemoveAll(filepath.Join(f, layerName, vcapHome, "app"))
		},
		"torn record":  func(f string) error { return os.Truncate(filepath.Join(f, recordName), 20) },
		"empty record": func(f string) error { return os.Truncate(filepath.Join(f, recordName), 0) },
		"other record": func(f string) error {
			return os.WriteFile(filepath.Join(f, recordName), []byte(`{"name":"sha1-0"}`), 0o600)
		},
		"all gone": os.RemoveAll,
	} {
		t.Run(name, func(t *testing.T) {
			c, s := openCache(t, Options{}), newStore(t)
			source := s.add(droplet(t, "start_command: ./run\n"))
			first := mustFetch(t, c, source)
			want := tree(t, first.Layer)
			if err := damage(filepath.Dir(first.Layer)); err != nil {
				t.Fatal(err)
			}

			again := mustFetch(t, c, source)

			if again != first || s.asked.Load() != 2 {
				t.Errorf("got %+v after %+v, %d downloads", again, first, s.asked.Load())
			}
			if got := tree(t, again.Layer); strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// A running application's layer must not lose its files only because its
// record was damaged, so what was set aside is kept as long as it may be in use.
func TestADamagedLayerThatIsInUseStays(t *testing.T) {
	c, s := openCache(t, Options{}), newStore(t)
	source := s.add(droplet(t, ""))
	first := mustFetch(t, c, source)
	inUse, err := os.Open(filepath.Join(first.Layer, vcapHome))
	if err != nil {
		t.Fatal(err)
	}
	defer inUse.Close()
	if err := os.Remove(filepath.Join(filepath.Dir(first.Layer), recordName)); err != nil {
		t.Fatal(err)
	}
	mustFetch(t, c, source)

	evict(t, c, first.Digest)
	if names, err := inUse.Readdirnames(-1); err != nil || len(names) == 0 {
		t.Errorf("the layer in use has %v, %v", names, err)
	}
	evict(t, c)
	evict(t, c)
	expectNothing(t, c)
}

func evict(t *testing.T, c *Cache, keep ...string) {
	t.Helper()
	if err := c.Evict(t.Context(), keep); err != nil {
		t.Fatal(err)
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func TestEvictLeavesWhatIsKeptAndWhatWasJustHandedOut(t *testing.T) {
	c, s := openCache(t, Options{}), newStore(t)
	kept := mustFetch(t, c, s.add(droplet(t, "start_command: kept\n")))
	other := mustFetch(t, c, s.add(droplet(t, "start_command: other\n")))
	stranger := filepath.Join(c.dir, "not-ours")
	if err := os.Mkdir(stranger, 0o700); err != nil {
		t.Fatal(err)
	}

	evict(t, c, kept.Digest)
	if !exists(kept.Layer) || !exists(other.Layer) {
		t.Fatal("a droplet that was handed out a moment ago is gone")
	}
	evict(t, c, kept.Digest)

	if !exists(kept.Layer) || exists(filepath.Dir(other.Layer)) || !exists(stranger) {
		t.Errorf("kept: %v, other: %v, not ours: %v", exists(kept.Layer), exists(other.Layer), exists(stranger))
	}
	evict(t, c)
	if names, _ := c.list(); len(names) != 1 {
		t.Errorf("the cache holds %v", names)
	}
}

// A start may find a droplet in the cache at the moment in which Evict is told
// that nobody uses it.
func TestACachedDropletIsSparedWhenItIsHandedOutAgain(t *testing.T) {
	c, s := openCache(t, Options{}), newStore(t)
	source := s.add(droplet(t, ""))
	d := mustFetch(t, c, source)
	evict(t, c)
	mustFetch(t, c, source)

	evict(t, c)

	if !exists(d.Layer) || s.asked.Load() != 1 {
		t.Errorf("there: %v, %d downloads", exists(d.Layer), s.asked.Load())
	}
}

func TestASuccessorEvictsWhatItDoesNotKnow(t *testing.T) {
	c, s := openCache(t, Options{}), newStore(t)
	source := s.add(droplet(t, ""))
	d := mustFetch(t, c, source)
	next, err := Open(c.dir, Options{})
	if err != nil {
		t.Fatal(err)
	}

	evict(t, next)

	if exists(filepath.Dir(d.Layer)) {
		t.Error("the droplet is still there")
	}
	if again := mustFetch(t, next, source); again != d || s.asked.Load() != 2 {
		t.Errorf("got %+v after %+v, %d downloads", again, d, s.asked.Load())
	}
}

func TestWhatADeadAgentLeftHalfMadeIsSwept(t *testing.T) {
	c, s := openCache(t, Options{}), newStore(t)
	d := mustFetch(t, c, s.add(droplet(t, "")))
	half, aside := filepath.Join(c.dir, fetchPrefix+"123"), filepath.Join(c.dir, asidePrefix+d.Digest+"-9")
	for _, folder := range []string{half, aside} {
		if err := os.MkdirAll(filepath.Join(folder, "layer/home/vcap/app"), 0o700); err != nil {
			t.Fatal(err)
		}
	}

	next, err := Open(c.dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	// What was set aside may be in use still; only Evict knows.
	if exists(half) || !exists(aside) {
		names, _ := c.list()
		t.Errorf("the cache holds %v", names)
	}
	evict(t, next)
	expectNothing(t, next)
}

// After a power failure, a layer whose files may be torn isn't trusted; one
// that had reached the disk is.
func TestOnlyWhatHadSettledSurvivesAPowerFailure(t *testing.T) {
	c, s := openCache(t, Options{}), newStore(t)
	settled := s.add(droplet(t, "start_command: settled\n"))
	torn := s.add(droplet(t, "start_command: torn\n"))
	kept := mustFetch(t, c, settled)
	evict(t, c, kept.Digest)
	mustFetch(t, c, torn)
	next, err := Open(c.dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	next.bootID = "the next boot"

	mustFetch(t, next, settled)
	if n := s.asked.Load(); n != 2 {
		t.Errorf("the settled droplet was fetched again: %d downloads", n)
	}
	// Settling must not bless what an earlier boot left.
	evict(t, next, kept.Digest, "sha256-"+torn.SHA256)
	mustFetch(t, next, torn)
	if n := s.asked.Load(); n != 3 {
		t.Errorf("the torn droplet was trusted: %d downloads", n)
	}
}

func TestACachedDropletIsHeldAgainstBothDigests(t *testing.T) {
	c, s := openCache(t, Options{}), newStore(t)
	source := s.add(droplet(t, ""))
	mustFetch(t, c, source)
	source.SHA1 = strings.Repeat("0", 40)

	_, err := c.Fetch(t.Context(), source)

	if wrong, ok := errors.AsType[*DigestError](err); !ok || wrong.Want != "sha1-"+source.SHA1 {
		t.Errorf("error is %v, want a DigestError of sha1", err)
	}
}
