package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	idsOfAContainer = 65_536
	firstID         = 3_000_000
)

// tree makes a folder with files; a name that ends in / is a folder, and a
// content that begins with -> a link.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		target, link := strings.CutPrefix(content, "->")
		switch {
		case err != nil:
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(path, 0o755)
		case link:
			err = os.Symlink(target, path)
		default:
			err = os.WriteFile(path, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func find(t *testing.T, dir, name string) (Account, error) {
	t.Helper()
	root, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	return FindAccount(root, name, idsOfAContainer)
}

func TestAnAccountIsReadAsItStands(t *testing.T) {
	dir := tree(t, map[string]string{"etc/passwd": "root:x:0:0:root:/root:/bin/sh\nshort:x:1\nvcap:x:2000:2001:,,,:/home/vcap:/bin/bash\n" +
		"vcap:x:7:7::/:\nbare:x:5:6:::\nbeyond:x:65536:1::/:\nnegative:x:-1:1::/:\nrelative:x:1:1::home:\n" +
		"last:x:65535:65535::/last:"})
	for name, want := range map[string]Account{
		"root": {0, 0, "/root"}, "vcap": {2000, 2001, "/home/vcap"}, "bare": {5, 6, "/"}, "last": {65535, 65535, "/last"},
	} {
		if got, err := find(t, dir, name); err != nil || got != want {
			t.Errorf("%s is %+v, %v", name, got, err)
		}
	}
	for _, name := range []string{"nobody", "", "vca"} {
		if _, err := find(t, dir, name); !errors.Is(err, ErrNoAccount) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"short", "beyond", "negative", "relative"} {
		if got, err := find(t, dir, name); err == nil || errors.Is(err, ErrNoAccount) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is %+v, %v", name, got, err)
		}
	}
	if _, err := find(t, t.TempDir(), "root"); !errors.Is(err, ErrNoAccount) {
		t.Errorf("without a file: %v", err)
	}
}

// Whoever is root inside makes of /etc/passwd what it likes.
func TestNothingLeadsOutOfTheTree(t *testing.T) {
	outside := tree(t, map[string]string{"passwd": "outside:x:1:1::/:\n"})
	for name, target := range map[string]string{
		"absolute": filepath.Join(outside, "passwd"), "climbing": "../../../../../../../.." + filepath.Join(outside, "passwd"),
	} {
		dir := tree(t, map[string]string{"etc/passwd": "->" + target})
		if got, err := find(t, dir, "outside"); !errors.Is(err, ErrNoAccount) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	inside := tree(t, map[string]string{"etc/passwd": "->/opt/passwd", "opt/passwd": "inside:x:1:1::/:\n"})
	if _, err := find(t, inside, "inside"); err != nil {
		t.Errorf("a link that stays inside: %v", err)
	}
	pipe := tree(t, map[string]string{"etc/": ""})
	if err := syscall.Mkfifo(filepath.Join(pipe, "etc/passwd"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := find(t, pipe, "root"); err == nil {
		t.Error("a pipe was read")
	}
	long := tree(t, map[string]string{"etc/passwd": strings.Repeat("# long\n", accountsMax/7+1)})
	if _, err := find(t, long, "root"); err == nil || errors.Is(err, ErrNoAccount) {
		t.Errorf("a long one: %v", err)
	}
}

// written makes sure of the account, and returns the upper folder.
func written(t *testing.T, layers ...string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	upper, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer upper.Close()
	if err := WriteNames(upper, firstID, Names{Hostname: "h"}); err != nil {
		t.Fatal(err)
	}
	return dir, WriteAccount(upper, firstID, idsOfAContainer, layers)
}

// own gives everything in a tree to an id.
func own(t *testing.T, dir string, id int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, id, id))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// holds wants exactly these files in upper, with their owners (as the container
// has them) and modes.
func holds(t *testing.T, upper string, want ...string) {
	t.Helper()
	var got []string
	err := filepath.WalkDir(upper, func(path string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		name, _ := filepath.Rel(upper, path)
		if name != "." && name != "etc" && name != "etc/hosts" && name != "etc/hostname" {
			err = errors.Join(err, unix.Lstat(path, &st))
			got = append(got, fmt.Sprintf("%s %d:%d %o", name, int(st.Uid)-firstID, int(st.Gid)-firstID, st.Mode&0o7777))
		}
		return err
	})
	if err != nil || strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("upper holds %q, %v; want %q", got, err, want)
	}
}

func textOf(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return string(content)
}

func TestAnAccountThatIsMissingIsWritten(t *testing.T) {
	below := hostStack(t)
	layer := tree(t, map[string]string{"etc/passwd": "root:x:0:0:root:/root:/bin/sh", "etc/group": "root:x:0:\n", "home/": ""})
	if err := os.Chmod(filepath.Join(layer, "home"), 0o711); err != nil {
		t.Fatal(err)
	}
	hidden := tree(t, map[string]string{"etc/passwd": "vcap:x:5:5::/:\n"})
	upper, err := written(t, layer, hidden)
	if err != nil {
		t.Fatal(err)
	}
	holds(t, upper, "etc/group 0:0 644", "etc/passwd 0:0 644", "home 0:0 711", "home/vcap 2000:2000 755")
	if got, want := textOf(t, upper+"/etc/passwd"),
		"root:x:0:0:root:/root:/bin/sh\nvcap:x:2000:2000:vcap:/home/vcap:/bin/bash\n"; got != want {
		t.Errorf("passwd is %q", got)
	}
	if got, want := textOf(t, upper+"/etc/group"), "root:x:0:\nvcap:x:2000:\n"; got != want {
		t.Errorf("group is %q", got)
	}
	// A home that is there, and vcap's, stays.
	if upper, err = written(t, layer, below); err != nil {
		t.Fatal(err)
	}
	holds(t, upper, "etc/group 0:0 644", "etc/passwd 0:0 644")
	// Where there is nothing at all, and where a layer hides what is below.
	for _, layers := range [][]string{{tree(t, nil)}, {whiteout(t), hidden}, {opaqueEtc(t), hidden}} {
		upper, err := written(t, layers...)
		if err != nil {
			t.Fatal(err)
		}
		holds(t, upper, "etc/group 0:0 644", "etc/passwd 0:0 644", "home 0:0 755", "home/vcap 2000:2000 755")
	}
}

func whiteout(t *testing.T) string {
	t.Helper()
	dir := tree(t, map[string]string{"etc/": ""})
	if err := unix.Mknod(filepath.Join(dir, "etc/passwd"), unix.S_IFCHR, 0); err != nil {
		t.Fatal(err)
	}
	return dir
}

func opaqueEtc(t *testing.T) string {
	t.Helper()
	dir := tree(t, map[string]string{"etc/": ""})
	if err := unix.Setxattr(filepath.Join(dir, "etc"), "trusted.overlay.opaque", []byte("y"), 0); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestAnAccountThatIsThereStaysAsItIs(t *testing.T) {
	upper, err := written(t, hostStack(t))
	if err != nil {
		t.Fatal(err)
	}
	holds(t, upper)
	theirs := tree(t, map[string]string{"etc/passwd": "vcap:x:1000:1000::/srv/app:/bin/sh\n", "srv/app/": ""})
	if upper, err = written(t, theirs); err != nil {
		t.Fatal(err)
	}
	holds(t, upper)
	// A home that is missing is made; one of another's is given to it.
	homeless := tree(t, map[string]string{"etc/passwd": "vcap:x:1000:1001::/srv/app:/bin/sh\n"})
	if upper, err = written(t, homeless); err != nil {
		t.Fatal(err)
	}
	holds(t, upper, "srv 0:0 755", "srv/app 1000:1001 755")
	another := tree(t, map[string]string{"etc/passwd": "root:x:0:0::/:\n", "etc/group": "vcap:x:99:\n", "home/vcap/": ""})
	own(t, filepath.Join(another, "home"), 7)
	if upper, err = written(t, another); err != nil {
		t.Fatal(err)
	}
	holds(t, upper, "etc/passwd 0:0 644", "home 7:7 755", "home/vcap 2000:99 755")
	// An id beyond the container's would be another container's.
	beyond := tree(t, map[string]string{"etc/passwd": "vcap:x:70000:70000::/home/vcap:\n"})
	if _, err := written(t, beyond); err == nil || !strings.Contains(err.Error(), "70000") {
		t.Errorf("an id beyond the container's: %v", err)
	}
	odd := tree(t, map[string]string{"etc/passwd": "root:x:0:0::/:\n", "home": "->/var/home", "var/home/": ""})
	if _, err := written(t, odd); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("a home below a link: %v", err)
	}
}
