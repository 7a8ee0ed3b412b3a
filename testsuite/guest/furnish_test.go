//go:build guest

package guest

import (
	"debug/elf"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// programs are what containers of the stack "host" are asked to run inside, and
// what the node's disk is made with.
var programs = []string{
	"awk", "basename", "bash", "cat", "chmod", "chown", "cksum", "cp", "cut", "date", "dd", "dirname", "dmesg", "env", "false",
	"find", "getent", "grep", "head", "hostname", "id", "ip", "kill", "ln", "ls", "md5sum", "mkdir", "mkfifo", "mkfs.btrfs", "mknod",
	"mount", "mv", "nats-server", "nproc", "od", "printf", "ps", "pwd", "python3", "readlink", "rm", "sed", "seq", "sh", "sleep",
	"sort", "stat", "sync", "tail", "tc", "tee", "timeout", "touch", "tr", "true", "truncate", "uname", "unshare", "wc",
}

// accounts are those of the node, by name.
const (
	passwd = "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n"
	group  = "root:x:0:\ndaemon:x:1:\nnogroup:x:65534:\n"
)

// furnishNode makes a small machine with a merged /usr, out of this one.
func furnishNode(t *testing.T, root string) {
	t.Helper()
	for _, dir := range []string{
		"usr/bin", "usr/lib", "proc", "sys", "dev", "tmp", "run", "etc", "root", "tests", "src", "deacon", "busybox",
	} {
		must(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	must(t, os.Chmod(root, 0o755))
	must(t, os.Chmod(filepath.Join(root, "tmp"), 0o1777|os.ModeSticky))
	for _, link := range []string{"bin", "sbin", "lib", "lib64"} {
		target, err := os.Readlink("/" + link)
		must(t, err)
		must(t, os.Symlink(target, filepath.Join(root, link)))
	}
	for _, name := range programs {
		copyFile(t, root, systemProgram(t, name))
	}
	for _, name := range []string{"/etc/ld.so.cache", "/etc/services", "/etc/nsswitch.conf"} {
		copyFile(t, root, name)
	}
	must(t, os.WriteFile(filepath.Join(root, "etc/passwd"), []byte(passwd), 0o644))
	must(t, os.WriteFile(filepath.Join(root, "etc/group"), []byte(group), 0o644))
	pythons, _ := filepath.Glob("/usr/lib/python3.*/socket.py")
	if len(pythons) == 0 {
		t.Fatal("the standard library of python3 is not below /usr/lib")
	}
	copyTree(t, root, filepath.Dir(pythons[0]))
	must(t, os.WriteFile(filepath.Join(root, "src/go.mod"), nil, 0o644)) // the rig looks for the module's top
	busybox := program(t, "busybox", "busybox-static")
	copyFile(t, root, busybox)
	for _, name := range []string{"ip", "poweroff"} {
		must(t, os.Symlink("/usr/bin/busybox", filepath.Join(root, "busybox", name)))
	}
}

// systemProgram finds a program below /usr, wherever PATH leads first.
func systemProgram(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range []string{"/usr/bin/", "/usr/sbin/"} {
		if _, err := os.Stat(dir + name); err == nil {
			return dir + name
		}
	}
	t.Fatalf("%s is neither in /usr/bin nor in /usr/sbin", name)
	return ""
}

// copyFile copies what a path leads to, to the same place below root, with the
// libraries that it is linked with.
func copyFile(t *testing.T, root, path string) {
	t.Helper()
	real, err := filepath.EvalSymlinks(filepath.Dir(path))
	must(t, err)
	target := filepath.Join(root, real, filepath.Base(path))
	if _, err := os.Stat(target); err == nil {
		return
	}
	body, err := os.ReadFile(path)
	must(t, err)
	must(t, os.MkdirAll(filepath.Dir(target), 0o755))
	must(t, os.WriteFile(target, body, 0o755))
	linked, _ := exec.Command("ldd", path).Output() // none of a script's
	for field := range strings.FieldsSeq(string(linked)) {
		if strings.HasPrefix(field, "/") {
			copyFile(t, root, field)
		}
	}
}

func copyTree(t *testing.T, root, top string) {
	t.Helper()
	must(t, filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if d.IsDir() && slices.Contains([]string{"test", "__pycache__", "idlelib", "ensurepip", "lib2to3", "tkinter"}, d.Name()) {
			return fs.SkipDir
		}
		if err == nil && d.Type().IsRegular() {
			copyFile(t, root, path)
		}
		return err
	}))
}

// addModules copies the kernel's modules, and names them in the order in which
// they are to be loaded.
func addModules(t *testing.T, dir, kernel string) {
	t.Helper()
	must(t, os.Mkdir(dir, 0o755))
	paths := map[string]string{}
	must(t, filepath.WalkDir(filepath.Join(kernel, "lib/modules"), func(path string, _ fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(filepath.Base(path), ".ko"); ok {
			paths[strings.ReplaceAll(name, "-", "_")] = path
		}
		return err
	}))
	var order []string
	var add func(name string)
	add = func(name string) {
		path, ok := paths[name]
		if !ok || slices.Contains(order, name+".ko") {
			return // built in, or there already
		}
		for _, needed := range dependencies(t, path) {
			add(needed)
		}
		order = append(order, name+".ko")
		body, err := os.ReadFile(path)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, name+".ko"), body, 0o644))
	}
	for _, name := range modules {
		add(name)
	}
	must(t, os.WriteFile(filepath.Join(dir, "order"), []byte(strings.Join(order, "\n")+"\n"), 0o644))
}

// dependencies are what a module says that it needs, softly or not.
func dependencies(t *testing.T, path string) (names []string) {
	t.Helper()
	file, err := elf.Open(path)
	must(t, err)
	defer file.Close()
	info, err := file.Section(".modinfo").Data()
	must(t, err)
	for entry := range strings.SplitSeq(string(info), "\x00") {
		for _, key := range []string{"depends=", "softdep=pre: "} {
			if list, ok := strings.CutPrefix(entry, key); ok {
				for name := range strings.FieldsFuncSeq(list, func(r rune) bool { return r == ',' || r == ' ' }) {
					names = append(names, strings.ReplaceAll(name, "-", "_"))
				}
			}
		}
	}
	return names
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}
