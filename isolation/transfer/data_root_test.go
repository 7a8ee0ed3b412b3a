package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func sumOf(t *testing.T, name string) [32]byte {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		t.Fatal(err)
	}
	return [32]byte(sum.Sum(nil))
}

func TestABigFileArrivesWhole(t *testing.T) {
	inside, root := theirs(t)
	node := t.TempDir()
	block := make([]byte, 1<<20)
	file, err := os.Create(node + "/big")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 64 {
		for j := range block {
			block[j] = byte(i*7 + j*13 + j>>8)
		}
		if _, err := file.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	file.WriteString("and a bit")
	file.Close()
	begun := time.Now()
	if err := Copy(t.Context(), Side{Path: node + "/big"}, Side{Root: root, As: account, Path: "/"}); err != nil {
		t.Fatal(err)
	}
	in := time.Since(begun)
	if err := Copy(t.Context(), Side{Root: root, As: account, Path: "/big"}, Side{Path: node + "/back"}); err != nil {
		t.Fatal(err)
	}
	t.Logf("64 MiB: in %v, out %v", in, time.Since(begun)-in)
	if sumOf(t, node+"/big") != sumOf(t, inside+"/big") || sumOf(t, node+"/big") != sumOf(t, node+"/back") {
		t.Error("the content is another")
	}
}

// A hole costs nothing: not a terabyte, neither in front of data nor behind.
func TestHolesStayHoles(t *testing.T) {
	inside, root := theirs(t)
	node := t.TempDir()
	const far, size = 1 << 39, 1 << 40
	file, err := os.Create(node + "/sparse")
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{0, far} {
		if _, err := file.WriteAt(bytes.Repeat([]byte("data"), 1024), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := file.Truncate(size); err != nil {
		t.Fatal(err)
	}
	file.Close()
	if err := Copy(t.Context(), Side{Path: node + "/sparse"}, Side{Root: root, As: account, Path: "/"}); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(inside+"/sparse", &st); err != nil || st.Size != size || st.Blocks*512 > 1<<20 {
		t.Errorf("it has %d bytes in %d blocks, %v", st.Size, st.Blocks, err)
	}
	copied, err := os.Open(inside + "/sparse")
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close()
	for at, want := range map[int64]string{0: "data", 4096: "\x00\x00\x00\x00", far: "data", far + 4096: "\x00\x00\x00\x00"} {
		got := make([]byte, 4)
		if _, err := copied.ReadAt(got, at); err != nil || string(got) != want {
			t.Errorf("at %d there is %q, %v", at, got, err)
		}
	}
}

func TestCopyingByHandIsTheSame(t *testing.T) {
	node := t.TempDir()
	content := bytes.Repeat([]byte("0123456789"), 300_000)
	if err := os.WriteFile(node+"/a", content, 0o600); err != nil {
		t.Fatal(err)
	}
	from, err := os.Open(node + "/a")
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := os.Create(node + "/b")
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	// Beyond the end: the file shrank.
	at, err := copyByHand(t.Context(), to, from, extentOf{0, int64(len(content)) + 5})
	if err != nil || at != int64(len(content)) || sumOf(t, node+"/a") != sumOf(t, node+"/b") {
		t.Errorf("copied up to %d, %v", at, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := copyByHand(ctx, to, from, extentOf{0, 10}); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

func TestTwoThousandFilesDeepDown(t *testing.T) {
	inside, root := theirs(t)
	node := t.TempDir()
	dir := node + "/tree"
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		dir += "/d"
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for j := range 10 {
			if err := os.WriteFile(fmt.Sprintf("%s/f%d", dir, j), []byte(fmt.Sprint(i, j)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	begun := time.Now()
	if err := Copy(t.Context(), Side{Path: node + "/tree"}, Side{Root: root, As: account, Path: "/"}); err != nil {
		t.Fatal(err)
	}
	in := time.Since(begun)
	if err := Copy(t.Context(), Side{Root: root, As: account, Path: "/tree/"}, Side{Path: node + "/back"}); err != nil {
		t.Fatal(err)
	}
	t.Logf("2000 files in 200 folders: in %v, out %v", in, time.Since(begun)-in)
	want := grown(t, node+"/tree", nil)
	for _, there := range []string{inside + "/tree", node + "/back"} {
		if got := grown(t, there, nil); len(got) != 2200 || strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s has %d entries of %d", there, len(got), len(want))
		}
	}
}

func TestFoldersHaveADeepest(t *testing.T) {
	_, root := theirs(t)
	node := t.TempDir()
	at, err := unix.Open(node, unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range DepthMax + 10 {
		if err := unix.Mkdirat(at, "deeper", 0o755); err != nil {
			t.Fatal(err)
		}
		next, err := unix.Openat(at, "deeper", unix.O_DIRECTORY, 0)
		unix.Close(at)
		if at = next; err != nil {
			t.Fatal(err)
		}
	}
	unix.Close(at)
	before := descriptors(t)
	err = Copy(t.Context(), Side{Path: node + "/"}, Side{Root: root, As: account, Path: "/"})
	if !errors.Is(err, errDeep) {
		t.Errorf("error is %v", err)
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors are open, %d were", after, before)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

func TestACopyIsCancelled(t *testing.T) {
	inside, root := theirs(t)
	node := t.TempDir()
	for i := range 50 {
		if err := os.WriteFile(fmt.Sprintf("%s/%d", node, i), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancel(enough)
	before := descriptors(t)
	err := Copy(ctx, Side{Path: node + "/"}, Side{Root: root, As: account, Path: "/"})
	if !errors.Is(err, enough) {
		t.Errorf("error is %v", err)
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors are open, %d were", after, before)
	}
	if got := grown(t, inside, nil); len(got) > ahead {
		t.Errorf("there is %q", got)
	}
}

// A full disk ends it, says where, and leaves no half file.
func TestAFullDiskIsSaid(t *testing.T) {
	dir := t.TempDir()
	node := t.TempDir()
	if err := unix.Mount("deacon", dir, "tmpfs", 0, fmt.Sprintf("size=1m,mode=0700,uid=%d", account.UID)); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	root, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := os.WriteFile(node+"/big", make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	err = Copy(t.Context(), Side{Path: node + "/big"}, Side{Root: root, As: account, Path: "/"})
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "/big") {
		t.Errorf("error is %v", err)
	}
	if left, _ := filepath.Glob(dir + "/.*"); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

func TestTheOwnerIsLookedUpFirst(t *testing.T) {
	for text, want := range map[string]Owner{
		"root": {0, -1}, "root:root": {0, 0}, "root:": {0, 0}, ":daemon": {-1, 1}, "daemon:root": {1, 0},
		"1234:5678": {1234, 5678}, "1234": {1234, -1},
	} {
		if got, err := FindOwner(text); err != nil || got != want {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"no-such-user", "root:no-such-group", "", ":", "4294967295", "-1"} {
		if got, err := FindOwner(text); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
}

// As chown -R does it: everything that lies there, and no link is followed.
func TestAnOwnerTakesAll(t *testing.T) {
	node, outside := t.TempDir(), t.TempDir()
	plant(t, outside, "f 0600 other x")
	plant(t, node, "d 0755 d", "f 0600 d/a x", "d 0700 d/s", "f 0600 d/s/b x", "l d/link "+outside, "l way d")
	owner, err := FindOwner("1234:5678")
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Take(t.Context(), node+"/way"); err != nil {
		t.Fatal(err)
	}
	for _, line := range grown(t, node+"/d", &Account{1234, 5678}) {
		if strings.Contains(line, " of ") {
			t.Error(line)
		}
	}
	if got := grown(t, outside, account); got[0] != "f 0600 other x" {
		t.Errorf("outside is %q", got)
	}
	if err := owner.Take(t.Context(), node+"/none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error is %v", err)
	}
}
