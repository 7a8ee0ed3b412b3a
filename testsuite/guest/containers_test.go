//go:build guest

package guest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// modules are what the kernel needs beyond what is built in, besides theirs.
var modules = []string{
	"virtio_pci", "virtio_blk", "overlay", "loop", "btrfs", "veth", "nf_tables", "nf_nat", "nft_chain_nat", "nft_masq",
	"nft_nat", "nft_ct", "nft_fib_inet", "nft_limit", "nft_objref", "nft_reject_inet", "nft_log", "nf_log_syslog",
	"nf_conntrack_netlink", "sch_tbf",
}

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

// lifeScript runs the tests; TREE stands for what mounts the hierarchy, TESTS
// for a line of each package.
const lifeScript = `export PATH=/usr/bin:/usr/sbin:/busybox HOME=/ DEACON_BIN=/deacon
mount -t devtmpfs dev /dev; mount -t proc proc /proc; mount -t sysfs sys /sys
TREE
ip link set lo up
cd /src
failed=0
run() {
	echo "== $1 at $(cut -d' ' -f1 /proc/uptime) s"
	/tests/$1.test -test.v -test.timeout 900s -test.run "$2" -test.skip "$3" || failed=1
}
TESTS
for left in /sys/fs/cgroup/deacon* /sys/fs/cgroup/*/deacon*; do
	[ -e "$left" ] && echo "left behind: $left" && failed=1
done
echo "GUEST-EXIT $failed at $(cut -d' ' -f1 /proc/uptime) s"
poweroff -f
`

// machine is what a guest is booted from: root becomes its disk.
type machine struct{ kernel, initrd, root string }

// newMachine makes one that has all that a suite needs: nothing is built inside.
func newMachine(t *testing.T, s suite) machine {
	t.Helper()
	m := machine{kernel: kernelImage(t), root: t.TempDir()}
	first := t.TempDir()
	furnish(t, first)
	must(t, os.Mkdir(filepath.Join(first, "disk"), 0o755))
	must(t, os.WriteFile(filepath.Join(first, "init"), []byte(diskScript), 0o755))
	addModules(t, filepath.Join(first, "modules"), filepath.Dir(filepath.Dir(m.kernel)))
	m.initrd = pack(t, first)
	furnishNode(t, m.root)
	for _, of := range s {
		name := filepath.Join(m.root, "tests", filepath.Base(of.pkg)+".test")
		goTool(t, "test", "-c", "-ldflags", "-s -w", "-o", name, "./"+of.pkg)
	}
	for _, pkg := range []string{"cmd/deacon", "cmd/deacon-init", "testsuite/e2e/app"} {
		name := filepath.Join(m.root, "deacon", filepath.Base(pkg))
		goTool(t, "build", "-trimpath", "-ldflags", "-s -w", "-o", name, "./"+pkg)
	}
	return m
}

// live boots it with one kind of tree and runs the suite.
func (m machine) live(t *testing.T, mounts string, s suite) {
	t.Helper()
	script := strings.NewReplacer("TREE", mounts, "TESTS", s.lines()).Replace(lifeScript)
	must(t, os.WriteFile(filepath.Join(m.root, "begin"), []byte(script), 0o644))
	image := filepath.Join(t.TempDir(), "disk")
	run(t, program(t, "mke2fs", "e2fsprogs"), "-q", "-t", "ext4", "-d", m.root, image, "4G")
	checkEnd(t, boot(t, m.kernel, m.initrd, "-drive", "file="+image+",format=raw,if=virtio,cache=unsafe"))
}
