package box

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/watch"
)

// look is what a path of vcap's home gives: a file's content, or a folder's names.
func (c *copies) look(path string) (string, error) {
	file, err := c.b.Look(c.t.Context(), c.spec.ID, path, vcapUser)
	if err != nil {
		return "", err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || info.IsDir() {
		names, err := file.Readdirnames(-1)
		return strings.Join(names, " "), err
	}
	content, err := io.ReadAll(file)
	return string(content), err
}

// What an application can leave in its home, it is looked at from outside.
func TestALookEndsInTheContainersHome(t *testing.T) {
	c := newCopies(t)
	c.run(0, `mkdir -p /home/vcap && chown vcap:vcap /home/vcap; echo root > /home/vcap/root; chmod 600 /home/vcap/root
		echo top > /top; mkfifo -m 666 /home/vcap/pipe; ln /home/vcap/root /home/vcap/hard; mkdir /home/vcap/bin`)
	out := c.run(vcap, `cd /home/vcap; echo mine > own; ln own again; ln -s /home/vcap/own absolute; ln -s ../../top out
		ln -s /proc/1/root/top magic; ln -s /proc/self/environ environ; ln -s /etc/passwd passwd; ln -s /dev/null null
		ln -s /proc/1/cwd/own cwd; mkdir sub; echo deep > sub/file; chmod 000 sub; ln -s /usr/bin/env env; ln /top stolen; ln /proc/version v`)
	if !strings.Contains(out, "'/top': Operation not permitted") || !strings.Contains(out, "Invalid cross-device link") {
		t.Errorf("inside was said %q", out)
	}
	for path, want := range map[string]string{"own": "mine\n", "again": "mine\n", "absolute": "mine\n", "/./own": "mine\n"} {
		if got, err := c.look(path); got != want {
			t.Errorf("%s gives %q, %v", path, got, err)
		}
	}
	for path, want := range map[string]error{
		"../..": fs.ErrPermission, "../../top": fs.ErrPermission, "out": fs.ErrPermission, "passwd": fs.ErrPermission,
		"environ": fs.ErrNotExist, "magic": unix.ELOOP, "cwd": unix.ELOOP, "../../proc/1/environ": fs.ErrPermission,
		"../../proc/1/root/top":    unix.ELOOP,
		"../../proc/self/root/top": fs.ErrNotExist, "stolen": fs.ErrNotExist, "../../dev/null": fs.ErrPermission, "null": fs.ErrPermission,
		"env": fs.ErrPermission, "pipe": fs.ErrPermission, "root": fs.ErrPermission, "hard": fs.ErrPermission,
		"sub": fs.ErrPermission, "sub/file": fs.ErrPermission, "nothing": fs.ErrNotExist, "own/x": unix.ENOTDIR,
	} {
		if got, err := c.look(path); !errors.Is(err, want) {
			t.Errorf("%s gives %q, %v; want %v", path, got, err, want)
		}
	}
	if _, err := c.b.Look(t.Context(), "nobody23456", "own", vcapUser); !errors.Is(err, isolation.ErrUnknown) {
		t.Errorf("of no container: %v", err)
	}
}

// Nobody inside may mount. What the node itself mounts there later on is looked
// through as the container does, and is no way out, be it the node's own /proc.
func TestAMountMadeLaterIsNoWayOut(t *testing.T) {
	c := newCopies(t)
	c.run(0, `mkdir -p /home/vcap/proc /home/vcap/later; echo covered > /home/vcap/later/file`)
	if out := c.run(0, `mount -t tmpfs none /home/vcap/later`); !strings.Contains(out, "permission denied") {
		t.Errorf("a mount inside: %q", out)
	}
	c.mount("proc", "/home/vcap/proc")
	c.mount("tmpfs", "/home/vcap/later")
	c.run(0, `echo new > /home/vcap/later/file; chmod 644 /home/vcap/later/file`)
	if got, err := c.look("later/file"); got != "new\n" {
		t.Errorf("in what was mounted later lies %q, %v", got, err)
	}
	for _, path := range []string{"proc/1/root/etc/passwd", "proc/self/root/etc/passwd", "proc/1/cwd", "proc/self/fd/0", "proc/1/exe"} {
		if got, err := c.look(path); err == nil {
			t.Errorf("%s gives %q", path, got)
		}
	}
}

// mount is a mount of the node's in the container's namespace.
func (c *copies) mount(kind, target string) {
	c.t.Helper()
	done := make(chan error, 1)
	go c.mountOnThread(done, kind, target)
	if err := <-done; err != nil {
		c.t.Fatal(err)
	}
}

// mountOnThread never gives its thread back. The first one is what /proc/self
// shows, and is held while another does the work.
func (c *copies) mountOnThread(done chan<- error, kind, target string) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		defer runtime.UnlockOSThread()
		other := make(chan error, 1)
		go c.mountOnThread(other, kind, target)
		done <- <-other
		return
	}
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", c.b.held(c.spec.ID).init.PID()))
	if err != nil {
		done <- err
		return
	}
	defer ns.Close()
	if err = unix.Unshare(unix.CLONE_FS); err == nil {
		err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS)
	}
	if err == nil {
		err = unix.Mount("none", target, kind, 0, "")
	}
	done <- err
}

func TestALookAtADeadContainerSaysThatItIsGone(t *testing.T) {
	c := newCopies(t)
	c.run(vcap, `echo mine > /home/vcap/own`)
	file, err := c.b.Look(t.Context(), c.spec.ID, "own", vcapUser)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := c.b.Destroy(t.Context(), c.spec.ID); err != nil {
		t.Fatal(err)
	}
	if got, err := c.look("own"); !errors.Is(err, isolation.ErrGone) {
		t.Errorf("it gives %q, %v", got, err)
	}
	if content, err := io.ReadAll(file); string(content) != "mine\n" {
		t.Errorf("what was open reads %q, %v", content, err)
	}
}

// Writes are made in the container's overlay, and by its namespaces; they are
// told of outside.
func TestAWriteInsideIsToldOfOutside(t *testing.T) {
	c := newCopies(t)
	c.run(vcap, `echo one > /home/vcap/log`)
	file, err := c.b.Look(t.Context(), c.spec.ID, "log", vcapUser)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w, err := watch.File(file)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	expect := func(told <-chan struct{}, doing string) {
		t.Helper()
		c.run(vcap, doing)
		select {
		case <-told:
		case <-time.After(5 * time.Second):
			t.Fatalf("%q is not told of", doing)
		}
	}
	expect(w.Changed(), `echo two >> /home/vcap/log`)
	if content, err := io.ReadAll(file); string(content) != "one\ntwo\n" {
		t.Errorf("read was %q, %v", content, err)
	}
	expect(w.Moved(), `mv /home/vcap/log /home/vcap/log.1`)
	expect(w.Moved(), `rm /home/vcap/log.1`)
}

// A file of the droplet's layer moves to the container's own at its first write;
// who had it open before follows it there.
func TestAFileOfALayerIsFollowedToItsCopy(t *testing.T) {
	m := newMachine(t)
	layer := t.TempDir()
	if err := errors.Join(os.Chmod(layer, 0o755), os.MkdirAll(layer+"/home/vcap", 0o755),
		os.WriteFile(layer+"/home/vcap/log", []byte("old\n"), 0o666), os.Chmod(layer+"/home/vcap/log", 0o666)); err != nil {
		t.Fatal(err)
	}
	b, _ := m.open()
	t.Cleanup(func() { m.end(b) })
	c := &copies{t: t, b: b, spec: m.spec(3), next: 1}
	c.spec.Rootfs.Layers = append([]string{layer}, c.spec.Rootfs.Layers...)
	if _, err := b.Create(t.Context(), c.spec, nil); err != nil {
		t.Fatal(err)
	}
	file, err := b.Look(t.Context(), c.spec.ID, "log", vcapUser)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w, err := watch.File(file)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	c.run(vcap, `echo new >> /home/vcap/log`)
	select {
	case <-w.Changed():
	case <-time.After(5 * time.Second):
		t.Error("the first write is not told of")
	}
	if content, err := io.ReadAll(file); string(content) != "old\nnew\n" {
		t.Errorf("read was %q, %v", content, err)
	}
}

func BenchmarkLook(b *testing.B) {
	m := newMachine(b)
	box, _ := m.open()
	b.Cleanup(func() { m.end(box) })
	spec := m.spec(3)
	job := shell(1, "mkdir -p /home/vcap; echo x > /home/vcap/f; chmod 666 /home/vcap/f; sleep 300")
	if _, err := box.Create(b.Context(), spec, job); err != nil {
		b.Fatal(err)
	}
	for {
		file, err := box.Look(b.Context(), spec.ID, "f", vcapUser)
		if err == nil {
			file.Close()
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	for b.Loop() {
		file, err := box.Look(b.Context(), spec.ID, "f", vcapUser)
		if err != nil {
			b.Fatal(err)
		}
		file.Close()
	}
}
