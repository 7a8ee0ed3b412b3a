package e2e

import (
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

func bindOf(source, target string, mode protocol.CreateRequest_BindMount_Mode) *protocol.CreateRequest_BindMount {
	return &protocol.CreateRequest_BindMount{SrcPath: &source, DstPath: &target, Mode: &mode}
}

// plantTree makes a file, a folder with another, and links.
func plantTree(t *testing.T) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "tree")
	long := time.Unix(1000000000, 0)
	for _, err := range []error{
		os.MkdirAll(filepath.Join(folder, "sub", "empty"), 0o755), os.Chmod(filepath.Join(folder, "sub"), 0o711),
		os.WriteFile(filepath.Join(folder, "run me"), []byte("#!/bin/sh\n"), 0o751),
		os.WriteFile(filepath.Join(folder, "sub", "file"), []byte("content"), 0o640),
		os.Link(filepath.Join(folder, "sub", "file"), filepath.Join(folder, "hard")),
		os.Symlink("sub/file", filepath.Join(folder, "link")), os.Symlink("/no/where", filepath.Join(folder, "dangling")),
		os.Truncate(filepath.Join(folder, "run me"), 1<<30), os.Chtimes(filepath.Join(folder, "sub", "file"), long, long),
		os.Chmod(filepath.Dir(folder), 0o755), os.Chmod(filepath.Dir(filepath.Dir(folder)), 0o755),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// What is copied is what rsync -r -p --links would have copied, both ways.
func TestCopiesAreThoseOfRsync(t *testing.T) {
	w := newWardens(t, "")
	handle, tree, out := w.create(), plantTree(t), t.TempDir()
	in := func(source, target string) {
		t.Helper()
		w.takes("copy_in", &protocol.CopyInRequest{Handle: &handle, SrcPath: &source, DstPath: &target})
	}
	w.run(handle, "mkdir there; echo old > there/kept; mkdir there/sub; echo old > there/sub/file; chmod 700 there/sub")
	in(tree+"/", "/home/vcap/there")
	in(tree, "/home/vcap/whole")
	in(tree+"/hard", "/home/vcap/one")
	for script, want := range map[string]string{
		"cd there; find . | sort | tr '\\n' ' '": ". ./dangling ./hard ./kept ./link ./run me ./sub ./sub/empty ./sub/file ",
		"ls whole":                               "tree\n",
		"cat one there/kept there/link":          "contentold\ncontent",
		"cd there; stat -c '%a %U:%G' 'run me' sub sub/file sub/empty": "" +
			"751 vcap:vcap\n711 vcap:vcap\n640 vcap:vcap\n755 vcap:vcap\n",
		"cd there; readlink link dangling":                                                 "sub/file\n/no/where\n",
		"cd there; stat -c %h sub/file hard":                                               "1\n1\n",
		"cd there; stat -c %s 'run me'; [ $(stat -c %b 'run me') -lt 100 ] && echo sparse": "1073741824\nsparse\n",
		"cd there; [ $(stat -c %Y sub/file) -gt 1500000000 ] && echo new":                  "new\n",
	} {
		if _, stdout, stderr := w.run(handle, script); stdout != want {
			t.Errorf("%s: %q %q, want %q", script, stdout, stderr, want)
		}
	}
	w.run(handle, "cd /home/vcap; rm there/run*; mkdir secret; echo root > secret/file; chmod 600 secret/file", privileged)
	w.takes("stop", &protocol.StopRequest{Handle: &handle})
	away := func(source, target, owner string) *protocol.CopyOutRequest {
		r := &protocol.CopyOutRequest{Handle: &handle, SrcPath: &source, DstPath: &target}
		if owner != "" {
			r.Owner = &owner
		}
		return r
	}
	w.takes("copy_out", away("/home/vcap/there", out+"/new", ""))
	w.takes("copy_out of what is in it", away("/home/vcap/there/", out+"/new", ""))
	w.refused("copy_out of root's", away("/home/vcap/secret/", out+"/root", ""), failed)
	if entries, err := os.ReadDir(out + "/new"); err != nil || len(entries) != 6 {
		t.Errorf("copied %v, %v", entries, err)
	}
	if body := content(t, out+"/new/there/sub/file"); body != "content" {
		t.Errorf("copied %q", body)
	}
	if target, err := os.Readlink(out + "/new/dangling"); target != "/no/where" {
		t.Errorf("the link leads to %q, %v", target, err)
	}
	// The owner takes all that is below, and has to be somebody of the node.
	if err := os.Mkdir(out+"/owned", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(out+"/owned/before", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	w.takes("copy_out for nobody", away("/home/vcap/there/sub", out+"/owned", "nobody:"+groupOf(t, nobody)))
	for path, want := range map[string]string{
		"/new/there": "0", "/owned/sub/file": nobody.Uid, "/owned/before": nobody.Uid, "/owned": nobody.Uid,
	} {
		if got := ownerOf(t, out+path); got != want {
			t.Errorf("%s belongs to %s, want %s", path, got, want)
		}
	}
	w.destroy(handle)
}

func groupOf(t *testing.T, u *user.User) string {
	t.Helper()
	group, err := user.LookupGroupId(u.Gid)
	if err != nil {
		t.Fatal(err)
	}
	return group.Name
}

func ownerOf(t *testing.T, path string) string {
	t.Helper()
	stat, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return strconv.FormatUint(uint64(stat.Sys().(*syscall.Stat_t).Uid), 10)
}

// Bind mounts are the container's alone, in their order, and as writable as asked.
func TestBindMountsAreReadableOrWritable(t *testing.T) {
	w := newWardens(t, "")
	tree, shared := plantTree(t), filepath.Join(t.TempDir(), "a folder; $(of) words")
	file := filepath.Join(t.TempDir(), "file")
	for _, err := range []error{
		os.Mkdir(shared, 0o777), os.Chmod(shared, fs.ModeSticky|0o777), os.WriteFile(file, []byte("one file"), 0o644),
		os.Chmod(filepath.Dir(filepath.Dir(shared)), 0o755), os.Chmod(filepath.Dir(shared), 0o755),
		os.Chmod(filepath.Dir(filepath.Dir(file)), 0o755), os.Chmod(filepath.Dir(file), 0o755),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	before := mountsOf(t)
	handle, err := w.c.Create(w.ctx(), &protocol.CreateRequest{BindMounts: []*protocol.CreateRequest_BindMount{
		bindOf(tree, "/mnt/deep/down", protocol.CreateRequest_BindMount_RO),
		bindOf(shared, "/mnt/shared", protocol.CreateRequest_BindMount_RW),
		bindOf(file, "/etc/hostname", protocol.CreateRequest_BindMount_RO),
		bindOf(shared, "/mnt/shared/.", protocol.CreateRequest_BindMount_RO),
		bindOf(shared, "/mnt/again", protocol.CreateRequest_BindMount_RW),
	}})
	if err != nil {
		t.Fatal(err)
	}
	for script, want := range map[string]string{
		"cat /mnt/deep/down/sub/file 2>&1; ls /mnt/deep/down | wc -l":      "content5\n",
		"touch /mnt/deep/down/x 2>/dev/null || echo refused":               "refused\n",
		"echo from inside > /mnt/again/written && cat /mnt/shared/written": "from inside\n",
		"touch /mnt/shared/x 2>/dev/null && echo written || echo refused":  "refused\n",
		"cat /etc/hostname":                  "one file",
		"grep -c ' /mnt/' /proc/self/mounts": "4\n",
	} {
		_, stdout, stderr := w.run(handle, script, privileged)
		if stdout != want {
			t.Errorf("%s: %q %q, want %q", script, stdout, stderr, want)
		}
	}
	if body := content(t, filepath.Join(shared, "written")); body != "from inside\n" {
		t.Errorf("written %q", body)
	}
	if after := mountsOf(t); !slices.Equal(before, after) {
		t.Errorf("the node's mounts changed to %v", after)
	}
	w.destroy(handle)
	if body := content(t, filepath.Join(tree, "sub", "file")); body != "content" {
		t.Error("what was bound is gone with the container")
	}
}

func mountsOf(t *testing.T) (targets []string) {
	t.Helper()
	for line := range strings.Lines(content(t, "/proc/self/mounts")) {
		targets = append(targets, strings.Fields(line)[1])
	}
	return targets
}

// A root file system of the client's is any folder, and stays as it is.
func TestARootFileSystemOfTheClients(t *testing.T) {
	w := newWardens(t, "")
	root := filepath.Join(t.TempDir(), "root")
	for dir := root; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		defer os.Chmod(dir, 0o755)
		os.MkdirAll(dir, 0o755)
		os.Chmod(dir, 0o755)
	}
	for _, err := range []error{
		os.MkdirAll(root+"/etc", 0o755), os.MkdirAll(root+"/usr", 0o755), os.MkdirAll(root+"/root", 0o700),
		os.WriteFile(root+"/mark", []byte("the client's\n"), 0o644),
		os.WriteFile(root+"/etc/passwd", []byte("root:x:0:0::/root:/bin/bash\nvcap:x:4242:4242::/home/vcap:/bin/sh\n"), 0o644),
		os.WriteFile(root+"/etc/group", []byte("root:x:0:\nvcap:x:4242:\n"), 0o644),
		os.MkdirAll(root+"/home/vcap", 0o755), os.Chown(root+"/home/vcap", 4242, 4242),
		os.Symlink("usr/bin", root+"/bin"), os.Symlink("usr/lib", root+"/lib"), os.Symlink("usr/lib64", root+"/lib64"),
		os.Symlink(root, root+"-link"),
		os.Mkdir(root+"/tmp", 0o777), os.Symlink("/../../../tmp", root+"/away"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	handle, err := w.c.Create(w.ctx(), &protocol.CreateRequest{
		Rootfs: proto.String(root + "-link"),
		BindMounts: []*protocol.CreateRequest_BindMount{
			bindOf("/usr", "/usr", protocol.CreateRequest_BindMount_RO),
			bindOf("/usr", "/away/wardens-bind", protocol.CreateRequest_BindMount_RO), // what leads out leads in
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for script, want := range map[string]string{
		"ls -d /tmp/wardens-bind/bin":           "/tmp/wardens-bind/bin\n",
		"cat /mark":                             "the client's\n",
		"id -un; pwd; touch mine && echo wrote": "vcap\n/home/vcap\nwrote\n",
		"stat -c %U:%G /home/vcap":              "vcap:vcap\n",
		"echo x > /sys/x 2>/dev/null || touch /proc/sys/x 2>/dev/null || echo refused": "refused\n",
	} {
		if _, stdout, stderr := w.run(handle, script); stdout != want {
			t.Errorf("%s: %q %q, want %q", script, stdout, stderr, want)
		}
	}
	if _, out, stderr := w.run(handle, "echo changed > /mark; rm -r /home; ls /", privileged); !strings.Contains(out, "mark") {
		t.Errorf("root: %q %q", out, stderr)
	}
	for _, made := range []string{"/tmp/wardens-bind", root + "/tmp/wardens-bind", root + "/dev", root + "/proc"} {
		if _, err := os.Stat(made); err == nil {
			t.Errorf("%s was made on the node", made)
		}
	}
	if body := content(t, root+"/mark"); body != "the client's\n" {
		t.Errorf("the client's folder was changed: %q", body)
	}
	w.destroy(handle)
	if _, err := os.Stat(root + "/home/vcap"); err != nil {
		t.Error(err)
	}
}

// What a container of Warden's has in /dev and elsewhere.
func TestWhatAWardensContainerIsMadeOf(t *testing.T) {
	w := newWardens(t, "")
	handle := w.create()
	for script, want := range map[string]string{
		"for d in null zero random urandom tty; do [ -c /dev/$d ] && echo $d; done": "" +
			"null\nzero\nrandom\nurandom\ntty\n",
		"readlink /dev/fd /dev/stdin /dev/stdout /dev/stderr": "" +
			"/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\n",
		"echo x > /dev/null && head -c 4 /dev/zero | wc -c":                                                          "4\n",
		"python3 -c 'import os; os.openpty(); print(1)'":                                                             "1\n",
		"touch /dev/shm/x && echo shm; touch /tmp/x && echo tmp":                                                     "shm\ntmp\n",
		"mknod /tmp/m b 8 0 2>/dev/null && head -c1 /tmp/m 2>/dev/null; ls /dev/sd* /dev/vd* 2>/dev/null; echo none": "none\n",
		"[ $(readlink /proc/self/ns/net) != $(readlink /proc/1/ns/mnt 2>/dev/null || echo x) ] && echo own":          "own\n",
		"ls /proc | grep -c '^[0-9][0-9][0-9][0-9]'; true":                                                           "0\n",
	} {
		if _, stdout, stderr := w.run(handle, script, privileged); stdout != want {
			t.Errorf("%s: %q %q, want %q", script, stdout, stderr, want)
		}
	}
	w.destroy(handle)
}
