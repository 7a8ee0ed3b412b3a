package box

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/rootfs"
)

const vcap = rootfs.VcapID

var vcapUser = isolation.User{UID: vcap, GID: vcap}

// copies is a container to copy into and out of.
type copies struct {
	t    *testing.T
	b    *Box
	spec isolation.Spec
	next uint32
}

func newCopies(t *testing.T) *copies {
	t.Helper()
	m := newMachine(t)
	b, _ := m.open()
	t.Cleanup(func() { m.end(b) })
	c := &copies{t: t, b: b, spec: m.spec(3), next: 1}
	if _, err := b.Create(t.Context(), c.spec, nil); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *copies) in(source, target string) error {
	return c.b.CopyIn(c.t.Context(), c.spec.ID, isolation.Copy{Source: source, Target: target}, vcapUser)
}

func (c *copies) out(source, target, owner string) error {
	order := isolation.Copy{Source: source, Target: target, Owner: owner}
	return c.b.CopyOut(c.t.Context(), c.spec.ID, order, vcapUser)
}

// run has somebody inside say a line of sh, and returns what it gives.
func (c *copies) run(uid uint32, line string) string {
	c.t.Helper()
	job := shell(c.next, line)
	c.next++
	job.User = isolation.User{UID: uid, GID: uid}
	job.Dir = "/"
	if err := c.b.Spawn(c.t.Context(), c.spec.ID, *job); err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.b.Wait(c.t.Context(), c.spec.ID, job.Number); err != nil {
		c.t.Fatal(err)
	}
	return c.b.text(c.spec.ID, job.Number, stdoutFile) + c.b.text(c.spec.ID, job.Number, stderrFile)
}

func (c *copies) file(name, content string, mode os.FileMode) {
	c.t.Helper()
	if err := errors.Join(os.WriteFile(name, []byte(content), 0o600), os.Chmod(name, mode)); err != nil {
		c.t.Fatal(err)
	}
}

func TestWhatIsCopiedInBelongsToVcap(t *testing.T) {
	c := newCopies(t)
	node := t.TempDir()
	if err := os.MkdirAll(node+"/src/sub", 0o755); err != nil {
		t.Fatal(err)
	}
	c.file(node+"/src/run", "echo hello", 0o755)
	c.file(node+"/src/sub/secret", "s", 0o600) // only root may read it on the node
	if err := os.Symlink("sub/secret", node+"/src/link"); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"/tmp", "app", "/home/vcap/new", "/dev/shm"} {
		if err := c.in(node+"/src", target); err != nil {
			t.Error(err)
		}
	}
	const list = `cd %s && stat -c '%%n %%a %%U %%G %%F' src src/run src/sub/secret src/link && cat src/link && sh src/run`
	const want = "src 755 vcap vcap directory\nsrc/run 755 vcap vcap regular file\nsrc/sub/secret 600 vcap vcap regular file\n" +
		"src/link 777 vcap vcap symbolic link\nshello\n"
	for _, at := range []string{"/tmp", "/home/vcap/app", "/home/vcap/new", "/dev/shm"} {
		if got := c.run(vcap, fmt.Sprintf(list, at)); got != want {
			t.Errorf("%s has\n%s", at, got)
		}
	}
	// What is in it, into what is another's and stays as it is.
	if err := c.in(node+"/src/", "/tmp"); err != nil {
		t.Error(err)
	}
	if got := c.run(vcap, "stat -c '%a %U' /tmp /tmp/run"); got != "1777 root\n755 vcap\n" {
		t.Errorf("/tmp has %s", got)
	}
}

func TestACopyMayWhatVcapMay(t *testing.T) {
	c := newCopies(t)
	node := t.TempDir()
	c.file(node+"/f", "x", 0o644)
	if got := c.run(0, "echo secret > /root/s; echo secret > /home/vcap/s; chmod 600 /home/vcap/s; mkfifo -m 666 /tmp/p"); got != "" {
		t.Fatal(got)
	}
	for target, want := range map[string]error{
		"/etc": unix.EACCES, "/etc/passwd": unix.EACCES, "/root/f": unix.EACCES, "/usr/bin": unix.EROFS,
		"/no/such/f": unix.ENOENT, "/proc/f": unix.ENOENT, "/sys/f": unix.EROFS,
	} {
		err := c.in(node+"/f", target)
		if !errors.Is(err, want) || !strings.Contains(err.Error(), target) {
			t.Errorf("into %s: error is %v, want %v", target, err, want)
		}
	}
	for source, want := range map[string]error{
		"/root/s": unix.EACCES, "/home/vcap/s": unix.EACCES, "/none": unix.ENOENT, "/proc/1/root/etc/passwd": unix.ELOOP,
		"/proc/1/environ": unix.EACCES,
	} {
		err := c.out(source, node+"/got", "")
		if !errors.Is(err, want) || !strings.Contains(err.Error(), source) {
			t.Errorf("out of %s: error is %v, want %v", source, err, want)
		}
	}
	if err := c.out("/tmp/p", node+"/got", ""); err != nil {
		t.Errorf("a pipe: error is %v", err) // left out, and nobody waits for its other end
	}
	if _, err := os.Lstat(node + "/got"); !os.IsNotExist(err) {
		t.Error("something was copied out")
	}
}

// Links that lead out of the container end inside it.
func TestACopyNeverLeavesTheContainer(t *testing.T) {
	c := newCopies(t)
	node, err := os.MkdirTemp("", "deacon-copy-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(node)
	if err := os.Chmod(node, 0o777); err != nil {
		t.Fatal(err)
	}
	c.file(node+"/victim", "victim", 0o666)
	climb := "/home/vcap/" + strings.Repeat("../", 20)
	c.run(vcap, "cd /home/vcap; ln -s /etc/shadow s; ln -s ../../../../../../etc/shadow r; ln -s "+node+" way; ln -s "+
		climb+node[1:]+" up; ln -s /proc/self/cwd magic; mkdir d; ln -s "+node+" d/way; ln -s "+node+"/victim d/victim")
	for _, way := range []string{"way", "up", "/" + climb + node[1:], "magic/" + node} {
		if err := c.in(node+"/victim", way+"/new"); err == nil {
			t.Errorf("copied into %s", way)
		}
		if err := c.out(way+"/victim", node+"/got", ""); err == nil {
			t.Errorf("copied out of %s", way)
		}
	}
	// Only the links themselves come.
	if err := errors.Join(c.out("s", node, ""), c.out("r", node, ""), c.out("d", node, "")); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]string{"s": "/etc/shadow", "d/way": node, "d/victim": node + "/victim"} {
		if got, err := os.Readlink(filepath.Join(node, name)); got != want {
			t.Errorf("%s leads to %q, %v", name, got, err)
		}
	}
	// And are replaced by what is copied over them.
	src := t.TempDir()
	c.file(src+"/victim", "mine", 0o644)
	if err := os.Mkdir(src+"/way", 0o755); err != nil {
		t.Fatal(err)
	}
	c.file(src+"/way/victim", "mine", 0o644)
	if err := c.in(src+"/", "/home/vcap/d"); err != nil {
		t.Error(err)
	}
	if got := c.run(vcap, "cat /home/vcap/d/victim /home/vcap/d/way/victim"); got != "minemine" {
		t.Errorf("inside is %q", got)
	}
	if content, err := os.ReadFile(node + "/victim"); string(content) != "victim" {
		t.Errorf("outside is %q, %v", content, err)
	}
}

// A job swaps a folder and a link for one another for as long as it is copied.
func TestAJobThatSwapsLinksGainsNothing(t *testing.T) {
	c := newCopies(t)
	node, err := os.MkdirTemp("", "deacon-copy-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(node)
	if err := os.Chmod(node, 0o777); err != nil {
		t.Fatal(err)
	}
	c.file(node+"/victim", "victim", 0o666)
	src := t.TempDir()
	if err := os.Mkdir(src+"/d", 0o755); err != nil {
		t.Fatal(err)
	}
	c.file(src+"/d/victim", "mine", 0o644)
	swap := shell(50, "mkdir -p x/d; echo mine > x/d/victim; ln -s "+node+" l; touch ready; "+
		"while :; do mv x/d e; mv -T l x/d; mv x/d l; mv e x/d; done 2>/dev/null")
	if err := c.b.Spawn(t.Context(), c.spec.ID, *swap); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); c.out("ready", src+"/ready", "") != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the job does not begin")
		}
	}
	for range 150 {
		c.in(src+"/", "x") // any of these may fail, as the job has it
		c.out("x/d/victim", src+"/got", "")
		if content, err := os.ReadFile(src + "/got"); err == nil && strings.TrimSpace(string(content)) != "mine" {
			t.Fatalf("copied out %q", content)
		}
	}
	if content, err := os.ReadFile(node + "/victim"); string(content) != "victim" {
		t.Errorf("outside is %q, %v", content, err)
	}
	if names, _ := filepath.Glob(node + "/*"); len(names) != 1 {
		t.Errorf("outside is %q", names)
	}
}

func TestACopyOutIsRootsOrItsOwners(t *testing.T) {
	c := newCopies(t)
	node := t.TempDir()
	c.run(vcap, "cd /home/vcap; umask 022; mkdir -p d/s; echo a > d/a; echo t > d/tool; chmod 6755 d/tool; ln -s a d/l; chmod 711 d")
	if err := c.b.Stop(t.Context(), c.spec.ID, 0); err != nil { // a stopped container will do
		t.Fatal(err)
	}
	if err := c.out("d", node, ""); err != nil {
		t.Fatal(err)
	}
	c.file(node+"/d/before", "x", 0o600)
	check := func(when string, uid uint32) {
		t.Helper()
		for name, mode := range map[string]uint32{
			"d": 0o711, "d/a": 0o644, "d/tool": 0o755, "d/l": 0o777, "d/s": 0o755, "d/before": 0o600,
		} {
			var st unix.Stat_t
			err := unix.Lstat(filepath.Join(node, name), &st)
			if err != nil || st.Uid != uid || st.Gid != uid || st.Mode&0o7777 != mode {
				t.Errorf("%s: %s is %d:%d %o, %v", when, name, st.Uid, st.Gid, st.Mode, err)
			}
		}
	}
	check("nobody named", 0)
	if err := c.out("d", node, "daemon:daemon"); err != nil {
		t.Fatal(err)
	}
	check("daemon named", 1)
	err := c.out("d", node+"/other", "no-such-user:root")
	if err == nil || !strings.Contains(err.Error(), "no-such-user") {
		t.Errorf("error is %v", err)
	}
	if _, err := os.Lstat(node + "/other"); !os.IsNotExist(err) {
		t.Error("it was copied for nobody")
	}
}

// The container pays for what it is given, and a full area is said.
func TestACopyInIsChargedToTheContainer(t *testing.T) {
	c := newCopies(t)
	node := t.TempDir()
	block := bytes.Repeat([]byte("0123456789abcdef"), 1<<20) // 16 MiB
	c.file(node+"/half", string(block), 0o644)
	c.file(node+"/big", string(bytes.Repeat(block, 4)), 0o644)
	before, err := c.b.Usage(t.Context(), c.spec.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.in(node+"/half", "/home/vcap/half"); err != nil {
		t.Fatal(err)
	}
	if got := c.run(vcap, "sync; cksum < /home/vcap/half"); !strings.Contains(got, fmt.Sprint(len(block))) {
		t.Errorf("inside it is %q", got)
	}
	after, err := c.b.Usage(t.Context(), c.spec.ID)
	if grown := after.DiskBytes - before.DiskBytes; err != nil || grown < 15<<20 {
		t.Errorf("it is charged %d bytes, %v", grown, err)
	}
	err = c.in(node+"/big", "/home/vcap/big")
	if !errors.Is(err, unix.EDQUOT) && !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "/home/vcap/big") {
		t.Errorf("error is %v", err)
	}
	if got := c.run(vcap, "ls -A /home/vcap"); strings.Contains(got, "big") {
		t.Errorf("left: %q", got)
	}
}

func TestSixtyFourMebibytesGoInAndOut(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	c := &copies{t: t, b: b, spec: m.spec(3), next: 1}
	c.spec.Limits.DiskBytes = 0
	if _, err := b.Create(t.Context(), c.spec, nil); err != nil {
		t.Fatal(err)
	}
	node := t.TempDir()
	content := bytes.Repeat([]byte("0123456789abcdef"), 4<<20)
	c.file(node+"/big", string(content), 0o644)
	begun := time.Now()
	if err := c.in(node+"/big", "/tmp/"); err != nil {
		t.Fatal(err)
	}
	in := time.Since(begun)
	if err := c.out("/tmp/big", node+"/back", ""); err != nil {
		t.Fatal(err)
	}
	t.Logf("64 MiB: in %v, out %v", in, time.Since(begun)-in)
	if back, err := os.ReadFile(node + "/back"); err != nil || !bytes.Equal(back, content) {
		t.Errorf("%d bytes came back, %v", len(back), err)
	}
	c.run(vcap, "cd /tmp; echo start > sparse; truncate -s 1G sparse; echo end >> sparse")
	if err := c.out("/tmp/sparse", node, ""); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(node+"/sparse", &st); err != nil || st.Size != 1<<30+4 || st.Blocks*512 > 1<<20 {
		t.Errorf("a sparse file has %d bytes in %d blocks, %v", st.Size, st.Blocks, err)
	}
}

func TestManyFilesGoIn(t *testing.T) {
	c := newCopies(t)
	node := t.TempDir()
	c.file(node+"/one", "x", 0o644)
	begun := time.Now()
	if err := c.in(node+"/one", "/tmp"); err != nil {
		t.Fatal(err)
	}
	t.Logf("one small file: in %v", time.Since(begun))
	if err := os.Mkdir(node+"/many", 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 2000 {
		dir := fmt.Sprintf("%s/many/%d/%d", node, i%10, i%100)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		c.file(fmt.Sprintf("%s/%d", dir, i), "x", 0o644)
	}
	begun = time.Now()
	if err := c.in(node+"/many", "/tmp"); err != nil {
		t.Fatal(err)
	}
	t.Logf("2000 files in 110 folders: in %v", time.Since(begun))
	if got := c.run(vcap, "find /tmp/many -type f -size 1 | wc -l"); got != "2000\n" {
		t.Errorf("%s files arrived", got)
	}
}

func TestACopyNeedsALivingContainer(t *testing.T) {
	c := newCopies(t)
	err := c.b.CopyIn(t.Context(), "00000000000", isolation.Copy{Source: "/x", Target: "/x"}, vcapUser)
	if !errors.Is(err, isolation.ErrUnknown) {
		t.Errorf("error is %v, want ErrUnknown", err)
	}
	for name, err := range map[string]error{
		"a relative source": c.in("x", "/tmp"), "a relative target": c.out("/tmp", "x", ""), "no target": c.out("/tmp", "", ""),
		"an account of another's": c.b.CopyIn(t.Context(), c.spec.ID, isolation.Copy{Source: "/etc/hosts", Target: "/tmp"},
			isolation.User{UID: 1 << 16, GID: vcap}),
	} {
		if err == nil {
			t.Errorf("%s is no error", name)
		}
	}
	if err := c.b.Destroy(context.Background(), c.spec.ID); err != nil {
		t.Fatal(err)
	}
	if err := c.out("/tmp", t.TempDir(), ""); !errors.Is(err, isolation.ErrGone) {
		t.Errorf("error is %v, want ErrGone", err)
	}
}

// A container that is destroyed meanwhile ends its copies, and nothing of them
// keeps it from being released.
func TestDestroyingEndsACopy(t *testing.T) {
	c := newCopies(t)
	node := t.TempDir()
	for i := range 100 {
		c.file(fmt.Sprint(node, "/", i), "x", 0o644)
	}
	begun, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		err := c.in(node, "/tmp")
		close(begun)
		for err == nil {
			err = c.in(node, "/tmp")
		}
		ended <- err
	}()
	<-begun
	if err := c.b.Destroy(context.Background(), c.spec.ID); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, isolation.ErrGone) {
		t.Errorf("error is %v, want ErrGone", err)
	}
	if err := c.b.Release(context.Background(), []string{c.spec.ID}); err != nil {
		t.Error(err)
	}
}

func TestACopyOfWhoLeavesEnds(t *testing.T) {
	c := newCopies(t)
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	err := c.b.CopyOut(ctx, c.spec.ID, isolation.Copy{Source: "/etc/", Target: t.TempDir()}, vcapUser)
	if !errors.Is(err, enough) {
		t.Errorf("error is %v", err)
	}
}
