//go:build guest

package guest

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

// bootMax is how long a guest may live.
const bootMax = 20 * time.Minute

// packages are those whose tests run inside. They need root, a kernel and
// deacon-init, and nothing else.
var packages = []string{
	"isolation/cgroup", "isolation/guard/filter", "isolation/initclient", "isolation/initproto", "isolation/launcher",
	"isolation/packet",
}

// initScript is the guest's first process. Its last line tells how it went. Each
// package's tests run where it lies, beside its test data.
var initScript = `#!/bin/sh
export PATH=/bin HOME=/ DEACON_BIN=/bin
chmod 755 /
mount -t devtmpfs dev /dev; mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs tmp /tmp
mount -t cgroup2 cgroup /sys/fs/cgroup
ip link set lo up
failed=0
for pkg in ` + strings.Join(packages, " ") + `; do
	echo "== $pkg"
	cd /src/$pkg && /tests/${pkg##*/}.test -test.count=1 -test.timeout 120s || failed=1
done
for left in /sys/fs/cgroup/deacon*; do
	[ -e "$left" ] && echo "left behind: $left" && failed=1
done
echo "GUEST-EXIT $failed"
poweroff -f
`

func TestTheIsolationLayersTestsPassOnAUnifiedTree(t *testing.T) {
	kernel := kernelImage(t)
	root := t.TempDir()
	furnish(t, root)
	for _, pkg := range packages {
		name := filepath.Join(root, "tests", filepath.Base(pkg)+".test")
		goTool(t, "test", "-c", "-ldflags", "-s -w", "-o", name, "./"+pkg)
		must(t, os.MkdirAll(filepath.Join(root, "src", pkg), 0o755))
		if data := filepath.Join(rig.Root(), pkg, "testdata"); exists(data) {
			must(t, os.CopyFS(filepath.Join(root, "src", pkg, "testdata"), os.DirFS(data)))
		}
	}
	goTool(t, "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(root, "bin", "deacon-init"), "./cmd/deacon-init")

	checkEnd(t, boot(t, kernel, pack(t, root)))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// checkEnd wants the guest to have come to its end, with nothing failed. Who
// has not seen what it said sees it now.
func checkEnd(t *testing.T, out string) {
	t.Helper()
	if strings.Contains(out, "GUEST-EXIT 0") {
		return
	}
	if !testing.Verbose() {
		t.Log(out)
	}
	t.Error("a test failed inside, or the guest did not come to its end")
}

// kernelImage finds the kernel below GUEST_KERNEL.
func kernelImage(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("GUEST_KERNEL")
	if dir == "" {
		t.Fatal("GUEST_KERNEL is not set: it names the folder of an unpacked kernel package (see doc.go)")
	}
	found, _ := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
	if len(found) != 1 {
		t.Fatalf("below %s/boot are %d kernels; want one, vmlinuz-*", dir, len(found))
	}
	return found[0]
}

// program finds one that the test needs, or says what package has it.
func program(t *testing.T, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed; it is in the package %s", name, pkg)
	}
	return path
}

// furnish makes the guest's root: busybox under all its names, and the script.
func furnish(t *testing.T, root string) {
	t.Helper()
	for _, dir := range []string{"bin", "proc", "sys", "dev", "tmp", "tests", "src"} {
		must(t, os.Mkdir(filepath.Join(root, dir), 0o755))
	}
	busybox := program(t, "busybox", "busybox-static")
	body, err := os.ReadFile(busybox)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(root, "bin/busybox"), body, 0o755))
	names, err := exec.Command(busybox, "--list").Output()
	must(t, err)
	for name := range strings.FieldsSeq(string(names)) {
		if name != "busybox" {
			must(t, os.Symlink("busybox", filepath.Join(root, "bin", name)))
		}
	}
	must(t, os.WriteFile(filepath.Join(root, "init"), []byte(initScript), 0o755))
	must(t, os.WriteFile(filepath.Join(root, "src/go.mod"), nil, 0o644)) // the rig looks for the module's top
}

func goTool(t *testing.T, args ...string) {
	t.Helper()
	tool := exec.Command("go", args...)
	tool.Dir = rig.Root()
	tool.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := tool.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// pack makes the initramfs of a folder.
func pack(t *testing.T, root string) string {
	t.Helper()
	var names bytes.Buffer
	must(t, filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if rel, _ := filepath.Rel(root, path); err == nil {
			fmt.Fprintln(&names, rel)
		}
		return err
	}))
	cpio := exec.Command(program(t, "cpio", "cpio"), "-o", "-H", "newc", "--quiet")
	cpio.Dir, cpio.Stdin, cpio.Stderr = root, &names, os.Stderr
	archive := filepath.Join(t.TempDir(), "initrd.gz")
	file, err := os.Create(archive)
	must(t, err)
	defer file.Close()
	zip, _ := gzip.NewWriterLevel(file, gzip.BestSpeed)
	cpio.Stdout = zip
	must(t, cpio.Run())
	must(t, zip.Close())
	return archive
}

// boot runs the guest until it turns itself off and returns what it said.
func boot(t *testing.T, kernel, initrd string, devices ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bootMax)
	defer cancel()
	// Without rdrand the kernel has no random numbers for a minute, and what
	// asks for some, as mkfs does, waits for seconds.
	options := append([]string{
		"-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "qemu64,+rdrand", "-smp", "1", "-m", "2048", "-nodefaults",
		"-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio", "-kernel", kernel, "-initrd", initrd,
		"-append", "console=ttyS0 quiet panic=-1 mitigations=off",
	}, devices...)
	program(t, "qemu-system-x86_64", "qemu-system-x86")
	// Whatever else the machine does goes first.
	qemu := exec.CommandContext(ctx, "nice", append([]string{"-n", "19", "qemu-system-x86_64"}, options...)...)
	var out bytes.Buffer
	qemu.Stdout = &out
	if testing.Verbose() {
		qemu.Stdout = io.MultiWriter(&out, os.Stdout) // as it comes
	}
	qemu.Stderr = qemu.Stdout
	if err := qemu.Run(); err != nil {
		t.Errorf("qemu: %v", err)
	}
	return strings.ReplaceAll(out.String(), "\r", "")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
