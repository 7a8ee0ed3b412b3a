package rootfs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const uidBase = 5_000_000

// userns is a user namespace as a container has one, held open.
func userns(t *testing.T) *os.File {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: mounts need root")
	}
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: uidBase, Size: 65_536}}
	process := exec.Command("/bin/sleep", "300")
	process.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	defer process.Wait()
	defer process.Process.Kill()
	file, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", process.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

// folder makes a directory with a file of root's and one of vcap's.
func folder(t *testing.T, name, content string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for file, owner := range map[string]int{"roots": 0, "vcaps": VcapID} {
		path := filepath.Join(dir, file)
		if err := errors.Join(os.WriteFile(path, []byte(content), 0o600), os.Chown(path, owner, owner)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func owner(t *testing.T, mount *os.File, path string) int {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstatat(int(mount.Fd()), path, &st, 0); err != nil {
		t.Fatal(path, err)
	}
	return int(st.Uid)
}

func read(t *testing.T, mount *os.File, path string) string {
	t.Helper()
	fd, err := unix.Openat(int(mount.Fd()), path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err.Error()
	}
	defer unix.Close(fd)
	content := make([]byte, 64)
	n, err := unix.Read(fd, content)
	if err != nil {
		t.Fatal(path, err)
	}
	return string(content[:n])
}

func create(mount *os.File, path string) error {
	fd, err := unix.Openat(int(mount.Fd()), path, unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

func TestAShiftedLayersFilesBelongToTheContainer(t *testing.T) {
	ns, dir := userns(t), folder(t, "layer", "x")
	layer, err := Layer(dir, ns, true)
	if err != nil {
		t.Fatal(err)
	}
	defer layer.Close()
	if root, vcap := owner(t, layer, "roots"), owner(t, layer, "vcaps"); root != uidBase || vcap != uidBase+VcapID {
		t.Errorf("owners are %d and %d", root, vcap)
	}
	if err := create(layer, "new"); !errors.Is(err, unix.EROFS) {
		t.Errorf("writing to it: %v", err)
	}
}

// To the container's root such a file belongs to nobody, and mode 0600 holds.
func TestAnUnshiftedLayersFilesStayTheNodes(t *testing.T) {
	userns(t)
	layer, err := Layer(folder(t, "bind", "x"), nil, false)
	if err != nil {
		t.Fatal(err)
	}
	defer layer.Close()
	if root := owner(t, layer, "roots"); root != 0 {
		t.Errorf("root's file belongs to %d", root)
	}
	if err := create(layer, "new"); err != nil {
		t.Errorf("a bind for writing: %v", err)
	}
}

func TestAMissingLayerIsNamed(t *testing.T) {
	if _, err := Layer("/no/such/layer", nil, true); !errors.Is(err, unix.ENOENT) || !strings.Contains(err.Error(), "/no/such/layer") {
		t.Errorf("error is %v", err)
	}
}

func TestTheTopmostLayerWinsAndWritesGoToTheUpperFolder(t *testing.T) {
	workshop, err := OpenWorkshop()
	if err != nil {
		t.Fatal(err)
	}
	defer workshop.Close()
	stackings := map[string]func([]*os.File, *os.File, *os.File) (*os.File, error){"workshop": workshop.Overlay}
	if copiesDetached(t) {
		stackings["here"] = Overlay
	}
	for name, stack := range stackings {
		t.Run(name, func(t *testing.T) { topmostWins(t, stack) })
	}
}

// copiesDetached says whether the kernel is of 6.15 or later: it must be the
// one or the other, as the kernel says of itself.
func copiesDetached(t *testing.T) bool {
	t.Helper()
	dev, err := DevTemplate()
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	copied, err := Clone(dev)
	if err == nil {
		copied.Close()
	}
	return err == nil
}

func topmostWins(t *testing.T, stack func(layers []*os.File, upper, work *os.File) (*os.File, error)) {
	ns := userns(t)
	var layers []*os.File
	for _, name := range []string{"top", "bottom"} {
		layer, err := Layer(folder(t, name, name), ns, true)
		if err != nil {
			t.Fatal(err)
		}
		defer layer.Close()
		layers = append(layers, layer)
	}
	area := t.TempDir()
	var folders []*os.File
	for _, name := range []string{"upper", "work"} {
		path := filepath.Join(area, name)
		if err := errors.Join(os.Mkdir(path, 0o755), os.Chown(path, uidBase, uidBase)); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		folders = append(folders, file)
	}
	root, err := stack(layers, folders[0], folders[1])
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if got := read(t, root, "vcaps"); got != "top" {
		t.Errorf("it shows %q", got)
	}
	if err := errors.Join(create(root, "new"), unix.Unlinkat(int(root.Fd()), "roots", 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(area, "upper", "new")); err != nil {
		t.Error("the new file is not in the upper folder:", err)
	}
	if got := read(t, root, "roots"); got != unix.ENOENT.Error() {
		t.Errorf("what was removed shows %q", got)
	}
	if got := read(t, layers[0], "roots"); got != "top" {
		t.Errorf("the layer has %q", got)
	}
}

func TestAnOverlayWithoutLayersIsAnError(t *testing.T) {
	userns(t)
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if _, err := Overlay(nil, dir, dir); !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "overlay: create") {
		t.Errorf("error is %v", err)
	}
}

// Without the kernel's own words every mistake is "invalid argument".
func TestWhatTheKernelSaysIsPassedOn(t *testing.T) {
	userns(t)
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "size", "nonsense"); err == nil {
		t.Fatal("the kernel takes nonsense")
	}
	if words := kernelWords(fs); !strings.Contains(words, "size") {
		t.Errorf("it says %q", words)
	}
}

func TestDevHasTheNamedDevicesAndTakesNoMore(t *testing.T) {
	userns(t)
	dev, err := DevTemplate()
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	copied := dev // where the kernel has it, what is asked is what containers get
	if copiesDetached(t) {
		if copied, err = Clone(dev); err != nil {
			t.Fatal(err)
		}
		defer copied.Close()
	}
	fd, err := unix.Openat(int(copied.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	top := os.NewFile(uintptr(fd), "dev")
	defer top.Close()
	names, err := top.Readdirnames(-1)
	slices.Sort(names)
	want := []string{"fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom", "zero"}
	if err != nil || !slices.Equal(names, want) {
		t.Errorf("it has %v, %v", names, err)
	}
	for _, d := range devices {
		var st unix.Stat_t
		err := unix.Fstatat(int(copied.Fd()), d.name, &st, 0)
		if err != nil || st.Mode != unix.S_IFCHR|0o666 || st.Rdev != unix.Mkdev(d.major, d.minor) {
			t.Errorf("%s has mode %o and number %d, %v", d.name, st.Mode, st.Rdev, err)
		}
	}
	if err := create(copied, "new"); !errors.Is(err, unix.EROFS) {
		t.Errorf("writing to it: %v", err)
	}
}
