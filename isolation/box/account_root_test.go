package box

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/rootfs"
)

// of makes a job that of an account by its name.
func of(name string, job *isolation.Job) *isolation.Job {
	job.User, job.Dir = isolation.User{Name: name}, ""
	return job
}

const whoami = "id -u; id -g; pwd; id -G; echo x >> /dev/stdout; touch here && stat -c %u here"

func TestAUserIsFoundInTheContainersOwnFile(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	spec := m.spec(0)
	// The first job, too.
	status, err := b.Create(t.Context(), spec, of("vcap", shell(1, whoami)))
	if err != nil || len(status.Jobs) != 1 {
		t.Fatalf("created %+v, %v", status, err)
	}
	if exit, err := b.Wait(t.Context(), spec.ID, 1); err != nil || exit.Code != 0 {
		t.Errorf("the first ended with %+v, %v", exit, err)
	}
	if text := b.text(spec.ID, 1, stdoutFile); text != "2000\n2000\n/home/vcap\n2000\nx\n2000\n" {
		t.Errorf("the first is %q", text)
	}
	if _, text := run(t, b, spec.ID, of("root", shell(2, whoami))); text != "0\n0\n/root\n0\nx\n0\n" {
		t.Errorf("root is %q", text)
	}
	// What is in the container's own file counts from then on.
	line := "echo app:x:1234:1235::/srv/app: >> /etc/passwd; mkdir -p /srv/app; chown 1234 /srv/app"
	if exit, text := run(t, b, spec.ID, of("root", shell(3, line))); exit.Code != 0 {
		t.Fatalf("ended with %+v: %s", exit, text)
	}
	if _, text := run(t, b, spec.ID, of("app", shell(4, whoami))); text != "1234\n1235\n/srv/app\n1235\nx\n1234\n" {
		t.Errorf("app is %q", text)
	}
	uid, gid, home, err := b.Account(t.Context(), spec.ID, "app")
	if err != nil || uid != 1234 || gid != 1235 || home != "/srv/app" {
		t.Errorf("app is %d, %d, %q, %v", uid, gid, home, err)
	}
	if err := b.Spawn(t.Context(), spec.ID, *of("nobody-there", shell(5, "true"))); !errors.Is(err, rootfs.ErrNoAccount) {
		t.Errorf("of nobody: %v", err)
	}
	run(t, b, spec.ID, of("vcap", shell(5, "true"))) // the number was not used
	// The node's own accounts are nobody's inside.
	if exit, text := run(t, b, spec.ID, of("root", shell(6, "ln -sf /proc/1/root/etc/passwd /etc/passwd"))); exit.Code != 0 {
		t.Fatalf("ended with %+v: %s", exit, text)
	}
	if _, _, _, err := b.Account(t.Context(), spec.ID, "root"); err == nil {
		t.Error("a link out of the container was followed")
	}
}

func TestAContainerWithoutAnAccountGetsOne(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	layer := t.TempDir()
	if err := os.Chmod(layer, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(layer, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"passwd": "root:x:0:0::/root:/bin/sh\n", "group": "root:x:0:\n"} {
		if err := os.WriteFile(filepath.Join(layer, "etc", name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	without := m.spec(0)
	without.Rootfs.Layers = []string{layer, m.stack}
	if _, err := b.Create(t.Context(), without, of("vcap", shell(1, whoami))); !errors.Is(err, rootfs.ErrNoAccount) {
		t.Errorf("without: %v", err)
	}
	m.nothing(b)
	with := m.spec(1)
	with.Rootfs.Layers, with.Rootfs.Account = without.Rootfs.Layers, true
	if _, err := b.Create(t.Context(), with, nil); err != nil {
		t.Fatal(err)
	}
	line := whoami + "; id -un; getent group vcap; ls /etc/services"
	exit, text := run(t, b, with.ID, of("vcap", shell(1, line)))
	if want := "2000\n2000\n/home/vcap\n2000\nx\n2000\nvcap\nvcap:x:2000:\n/etc/services\n"; text != want {
		t.Errorf("ended with %+v, said %q, want %q", exit, text, want)
	}
	// Theirs is used where they have one.
	theirs := m.spec(2)
	theirs.Rootfs.Account = true
	if _, err := b.Create(t.Context(), theirs, nil); err != nil {
		t.Fatal(err)
	}
	if _, text := run(t, b, theirs.ID, of("vcap", shell(1, "cat /etc/passwd"))); !strings.Contains(text, "nobody:x:65534") {
		t.Errorf("/etc/passwd is %q", text)
	}
}
