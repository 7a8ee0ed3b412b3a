package staging

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// application is a folder with something of everything that a droplet may hold.
func application(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, mode := range map[string]fs.FileMode{
		"run": 0o755, "lib/b/data": 0o640, "lib/a": 0o444, "odd name \xff": 0o600,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("content of "+name), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"current": "lib/b", "dangling": "/nowhere/at/all"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestASealedFolderBecomesADroplet(t *testing.T) {
	for _, zstd := range []bool{false, true} {
		var out bytes.Buffer
		info := Info{StartCommand: "./run: \"it\"\n", Buildpack: "none", Zstd: zstd}
		sums, err := Seal(&out, application(t), info)
		if err != nil {
			t.Fatal(err)
		}
		c, s := openCache(t, Options{}), newStore(t)
		source := s.add(out.Bytes())
		if source.SHA1 != sums.SHA1 || source.SHA256 != sums.SHA256 {
			t.Errorf("digests are %+v, want %+v", sums, source)
		}

		d := mustFetch(t, c, source)

		want := strings.Split(`. drwxr-xr-x 2000:2000
app drwxr-xr-x 2000:2000
app/current Lrwxrwxrwx 2000:2000 -> lib/b
app/dangling Lrwxrwxrwx 2000:2000 -> /nowhere/at/all
app/lib drwxr-xr-x 2000:2000
app/lib/a -r--r--r-- 2000:2000 16 bytes 1 links 315532800
app/lib/b drwxr-xr-x 2000:2000
app/lib/b/data -rw-r----- 2000:2000 21 bytes 1 links 315532800
app/odd name `+"\xff"+` -rw------- 2000:2000 21 bytes 1 links 315532800
app/run -rwxr-xr-x 2000:2000 14 bytes 1 links 315532800
logs drwxr-xr-x 2000:2000
staging_info.yml -rw-r--r-- 2000:2000 58 bytes 1 links 315532800
tmp drwxr-xr-x 2000:2000`, "\n")
		if diff := cmp.Diff(want, tree(t, filepath.Join(d.Layer, vcapHome))); diff != "" {
			t.Error(diff)
		}
		if d.StartCommand != "./run: \"it\"\n" {
			t.Errorf("start command is %q", d.StartCommand)
		}
	}
}

func TestTheSameFolderAlwaysSealsToTheSameBytes(t *testing.T) {
	seal := func(dir string) (out bytes.Buffer) {
		t.Helper()
		if _, err := Seal(&out, dir, Info{StartCommand: "./run"}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	first := application(t)
	second := application(t)
	when := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(second, "run"), when, when); err != nil {
		t.Fatal(err)
	}

	one, two := seal(first), seal(second)

	if !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Error("two equal folders make different droplets")
	}
	if err := os.WriteFile(filepath.Join(second, "run"), []byte("changed"), 0o755); err != nil {
		t.Fatal(err)
	}
	if three := seal(second); bytes.Equal(one.Bytes(), three.Bytes()) {
		t.Error("a change changes nothing")
	}
}

func TestWhatCannotBeSealedIsNamed(t *testing.T) {
	dir := application(t)
	if err := syscall.Mkfifo(filepath.Join(dir, "lib/pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Seal(&bytes.Buffer{}, dir, Info{}); err == nil || !strings.Contains(err.Error(), "lib/pipe") {
		t.Errorf("a fifo: error is %v", err)
	}
	if _, err := Seal(&bytes.Buffer{}, filepath.Join(dir, "nothing"), Info{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: error is %v", err)
	}
	if _, err := Seal(&bytes.Buffer{}, filepath.Join(dir, "run"), Info{}); err == nil {
		t.Error("a file was sealed as a folder")
	}
	if _, err := Seal(full{}, application(t), Info{}); !errors.Is(err, errFull) {
		t.Errorf("nowhere to write: error is %v", err)
	}
}

var errFull = errors.New("full")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }
