package rootfs

import (
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func hostStack(t *testing.T, dns ...netip.Addr) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: a layer's files have owners, which needs root")
	}
	dir, err := HostStack(filepath.Join(t.TempDir(), "stacks"), dns)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Everything in the layer is either generated or of a kind that everybody on
// the node may read.
func TestTheHostStackHoldsNothingSecret(t *testing.T) {
	dir := hostStack(t)
	mayBeThere := []string{"alternatives", "group", "host.conf", "hosts", "ld.so.cache", "ld.so.conf", "localtime",
		"mime.types", "mtab", "nsswitch.conf", "os-release", "passwd", "protocols", "resolv.conf", "services", "ssl"}
	entries, err := os.ReadDir(filepath.Join(dir, "etc"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains(mayBeThere, e.Name()) {
			t.Errorf("etc/%s is in it", e.Name())
		}
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		inside := strings.TrimPrefix(path, dir)
		if info.Mode().Perm() != 0o644 || info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
			t.Errorf("%s has mode %s", inside, info.Mode())
		}
		if original, err := os.Stat(inside); err == nil && inside != "/etc/resolv.conf" && original.Mode().Perm()&0o004 == 0 {
			t.Errorf("%s is not for everybody on the node", inside)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	passwd, _ := os.ReadFile(filepath.Join(dir, "etc/passwd"))
	if users := strings.Count(string(passwd), "\n"); users != 4 || !strings.Contains(string(passwd), "vcap:x:2000:2000:") {
		t.Errorf("passwd is %s", passwd)
	}
}

func TestWhatIsNotForEverybodyIsNotCopied(t *testing.T) {
	for path, want := range map[string]int{"etc/shadow": 0, "etc/no-such-file": 0, "etc": 0, "etc/passwd": 1} {
		found, err := copyEntry(path)
		if err != nil || len(found) != want {
			t.Errorf("%s: %d entries, %v", path, len(found), err)
		}
	}
}

func TestFoldersBelongToWhomTheyShould(t *testing.T) {
	dir := hostStack(t)
	for path, want := range map[string]struct {
		mode  fs.FileMode
		owner uint32
	}{
		".": {0o755, 0}, "root": {0o700, 0}, "tmp": {0o777 | fs.ModeSticky, 0}, "usr": {0o755, 0}, "home/vcap": {0o755, VcapID},
		"home/vcap/app": {0o755, VcapID},
	} {
		info, err := os.Stat(filepath.Join(dir, path))
		if err != nil {
			t.Error(err)
			continue
		}
		owner := info.Sys().(*syscall.Stat_t).Uid
		if mode := info.Mode() &^ fs.ModeDir; mode != want.mode || owner != want.owner {
			t.Errorf("%s has mode %s and owner %d, want %s and %d", path, mode, owner, want.mode, want.owner)
		}
	}
	for link, target := range map[string]string{"bin": "usr/bin", "app": "home/vcap/app", "etc/mtab": "/proc/self/mounts"} {
		if got, err := os.Readlink(filepath.Join(dir, link)); err != nil || got != target {
			t.Errorf("%s leads to %q, %v", link, got, err)
		}
	}
}

// A living container's lowest layer must not change under it.
func TestAStackIsMadeOncePerContent(t *testing.T) {
	stacks := filepath.Dir(hostStack(t))
	make := func(dns string) string {
		dir, err := HostStack(stacks, []netip.Addr{netip.MustParseAddr(dns)})
		if err != nil {
			t.Fatal(err)
		}
		return dir
	}
	first := make("192.0.2.1")
	mark := filepath.Join(first, "mark")
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if again := make("192.0.2.1"); again != first {
		t.Errorf("the same content is in %s and %s", first, again)
	}
	if _, err := os.Stat(mark); err != nil {
		t.Error("it was made anew:", err)
	}
	other := make("192.0.2.2")
	resolv, err := os.ReadFile(filepath.Join(other, "etc/resolv.conf"))
	if other == first || err != nil || string(resolv) != "nameserver 192.0.2.2\n" {
		t.Errorf("another resolver is in %s: %q, %v", other, resolv, err)
	}
	if entries, _ := os.ReadDir(stacks); len(entries) != 3 { // with the one that was made to find the folder
		t.Errorf("in the folder are %v", entries)
	}
}
