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

// modules are what the kernel needs beyond what is built in, besides theirs.
var modules = []string{
	"virtio_pci", "virtio_blk", "overlay", "loop", "btrfs", "veth", "nf_tables", "nf_nat", "nft_chain_nat", "nft_masq",
	"nft_nat", "nft_ct", "nft_fib_inet", "nft_limit", "nft_reject_inet", "nft_log", "nf_log_syslog", "nf_conntrack_netlink",
}

// programs are what containers of the stack "host" are asked to run inside, and
// what the node's disk is made with.
var programs = []string{
	"sh", "bash", "id", "hostname", "getent", "tr", "ls", "cat", "cut", "grep", "head", "wc", "touch", "unshare", "mount",
	"ps", "sleep", "env", "true", "rm", "stat", "python3", "mkfs.btrfs",
}

// lives are the tests of isolation/box that run inside: a container's life from
// one end to the other. The rest needs more of a machine, or its time.
const lives = "TestAJobsEndIsToldAsItWas|TestTheInsideIsTheContainersOwn|TestAPortIsServedUntilItsContainerIsDestroyed|" +
	"TestMemoryAndProcessesAreBounded|TestASuccessorFindsWhatRunsAndHowItEnded|TestAnOrphanOfADeadAgentIsSwept|" +
	"TestTermThenKill|TestAFailedCreateLeavesNothing|TestARootIsStackedInTheWorkshopOnEveryDisk|" +
	"TestAContainersFirstProgramMayBeUnknown|TestThePidFileHasTheJobsPidForItsUserOnly|TestALaterJobIgnoresNoSignal|" +
	"TestTheInsidesRootHasTheListedCapabilities|TestAKillBesideTheJobIsTold"

// diskScript is the first process: it goes over to the disk, because the root
// of an initramfs can be nobody's to leave.
const diskScript = `#!/bin/busybox sh
mount -t devtmpfs dev /dev
while read -r m; do insmod /modules/$m; done </modules/order
mount -t ext4 /dev/vda /disk || { echo "no disk"; poweroff -f; }
umount /dev
exec switch_root /disk /bin/busybox sh /begin
`

// trees are the kinds of cgroup hierarchy that containers run on. The unified
// one is mounted as systemd mounts it, and the tests run in a service's group.
var trees = map[string]string{
	"v1": "mount -t tmpfs cgroup /sys/fs/cgroup; for c in cpu,cpuacct memory pids cpuset blkio devices freezer; do " +
		"mkdir /sys/fs/cgroup/$c; mount -t cgroup -o $c cgroup /sys/fs/cgroup/$c; done",
	"v2": "mount -t cgroup2 -o nsdelegate cgroup /sys/fs/cgroup; mkdir /sys/fs/cgroup/service; " +
		"echo $$ >/sys/fs/cgroup/service/cgroup.procs",
}

// lifeScript runs the tests; TREE stands for what mounts the hierarchy.
const lifeScript = `export PATH=/usr/bin:/usr/sbin:/busybox HOME=/ DEACON_BIN=/deacon
mount -t devtmpfs dev /dev; mount -t proc proc /proc; mount -t sysfs sys /sys
TREE
ip link set lo up
cd /src
failed=0
/tests/rootfs.test -test.timeout 120s || failed=1
/tests/box.test -test.v -test.timeout 120s -test.run '^(` + lives + `)$' || failed=1
for left in /sys/fs/cgroup/deacon* /sys/fs/cgroup/*/deacon*; do
	[ -e "$left" ] && echo "left behind: $left" && failed=1
done
echo "GUEST-EXIT $failed"
poweroff -f
`

// A container's life on the oldest kernel, with the pool that limits its disk.
func TestContainersLiveOnTheOldestKernel(t *testing.T) {
	kernel := kernelImage(t)
	first, root := t.TempDir(), t.TempDir()
	furnish(t, first)
	must(t, os.Mkdir(filepath.Join(first, "disk"), 0o755))
	must(t, os.WriteFile(filepath.Join(first, "init"), []byte(diskScript), 0o755))
	addModules(t, filepath.Join(first, "modules"), filepath.Dir(filepath.Dir(kernel)))
	furnishNode(t, root)
	for _, pkg := range []string{"isolation/box", "isolation/rootfs"} {
		name := filepath.Join(root, "tests", filepath.Base(pkg)+".test")
		goTool(t, "test", "-c", "-ldflags", "-s -w", "-o", name, "./"+pkg)
	}
	goTool(t, "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(root, "deacon", "deacon-init"), "./cmd/deacon-init")
	m := machine{kernel: kernel, initrd: pack(t, first), root: root}
	for name, mounts := range trees {
		t.Run(name, func(t *testing.T) { m.live(t, mounts) })
	}
}

// machine is what a guest is booted from: root becomes its disk.
type machine struct{ kernel, initrd, root string }

// live boots it with one kind of tree.
func (m machine) live(t *testing.T, mounts string) {
	t.Helper()
	script := strings.Replace(lifeScript, "TREE", mounts, 1)
	must(t, os.WriteFile(filepath.Join(m.root, "begin"), []byte(script), 0o644))
	image := filepath.Join(t.TempDir(), "disk")
	run(t, program(t, "mke2fs", "e2fsprogs"), "-q", "-t", "ext4", "-d", m.root, image, "1500M")

	out := boot(t, m.kernel, m.initrd, "-drive", "file="+image+",format=raw,if=virtio")

	t.Log(out)
	if !strings.Contains(out, "GUEST-EXIT 0") {
		t.Error("a test failed inside, or the guest did not come to its end")
	}
}

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
	copyFile(t, root, "/etc/ld.so.cache")
	must(t, os.WriteFile(filepath.Join(root, "etc/passwd"), []byte("root:x:0:0:root:/root:/bin/sh\n"), 0o644))
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
