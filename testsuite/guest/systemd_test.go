//go:build guest

package guest

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

// systemdScript is the initramfs's: it hands over to the disk's own init.
const systemdScript = `#!/bin/busybox sh
mount -t devtmpfs dev /dev; mount -t proc proc /proc
while read -r m; do insmod /modules/$m; done </modules/order
mount -t ext4 /dev/vda /disk || { echo "no disk"; poweroff -f; }
umount /proc; umount /dev
exec switch_root /disk /usr/lib/systemd/systemd --log-level=err --show-status=0
`

// packageScript is what an administrator does with the package, as a service of a
// booted Debian. Each claim prints a line; one that fails, why.
const packageScript = `#!/bin/bash
export PATH=/usr/bin:/usr/sbin HOME=/root LC_ALL=C DEBIAN_FRONTEND=noninteractive
failed=0
claim() { # what, then a command that says whether it holds
	local what=$1; shift
	if "$@"; then echo "HOLDS at $(cut -d' ' -f1 /proc/uptime) s: $what"; else echo "FAILS: $what"; failed=1; fi
}
none() { local out; out=$("$@" 2>/dev/null); [ -z "$out" ] || { echo "$out"; return 1; }; }
until_() { for _ in $(seq 300); do "$@" >/dev/null 2>&1 && return 0; sleep 0.5; done; return 1; }
running() { deacon ps | grep -q 'worker .*RUNNING'; }
application() { pgrep -f -x 'sleep 654321'; }
same() { [ -n "$1" ] && [ "$1" = "$(application)" ]; }
mainpid() { systemctl show -p MainPID --value deacon; }
other() { [ "$(mainpid)" != 0 ] && [ "$(mainpid)" != "$1" ]; }

systemctl start nats-server
dpkg -i /deacon.deb
claim "systemd started it" systemctl is-active deacon
claim "it starts at boot" systemctl is-enabled deacon
deacon doctor
claim "the doctor finds nothing missing" deacon doctor --json
deacon run -d --no-route --name worker -m 64M --disk 64M -- 'exec sleep 654321'
claim "an application runs" until_ running
pid=$(application); agent=$(mainpid)
echo "the application is process $pid, the agent $agent"
systemctl restart deacon
claim "a restart of the unit makes another agent" other "$agent"
claim "the application is the same process" same "$pid"
claim "the new agent knows it" until_ running
agent=$(mainpid); kill -9 "$agent"
claim "systemd starts a killed agent again" until_ other "$agent"
claim "the application is the same process" same "$pid"
claim "the new agent knows it" until_ running
dpkg -i /deacon.deb
claim "the application lives over an upgrade" same "$pid"
dpkg -r deacon
claim "no application runs" none application
claim "no process of ours" none pgrep -f deacon-init
claim "no group" none sh -c 'ls -d /sys/fs/cgroup/deacon* /sys/fs/cgroup/*/deacon*'
claim "no table" none sh -c 'nft list tables | grep deacon'
claim "no link" none sh -c 'ip -o link | grep dcn'
claim "no mount" none grep -e deacon -e ' /var/lib/deacon' /proc/self/mountinfo
claim "no loop device" none sh -c 'cat /sys/block/loop*/loop/backing_file | grep deacon'
claim "no unit" none sh -c 'systemctl list-unit-files | grep deacon.service'
claim "what the administrator wrote stays" test -f /etc/deacon/config.hcl
claim "who the node is stays" test -f /var/lib/deacon/node
dpkg -P deacon
claim "purging takes that" none ls -d /etc/deacon /var/lib/deacon
[ $failed = 0 ] || { systemctl status deacon; journalctl -u deacon --no-pager | tail -n 40; }
echo "GUEST-EXIT $failed at $(cut -d' ' -f1 /proc/uptime) s"
systemctl poweroff -ff
`

const packageUnit = `[Unit]
Description=what an administrator does
After=basic.target dbus.service
[Service]
Type=oneshot
ExecStart=/bin/bash /begin
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
`

// TestADebianWithSystemdInstallsRestartsAndRemovesIt needs GUEST_DEBIAN, the folder of
// a small Debian (tools/guest-debian).
func TestADebianWithSystemdInstallsRestartsAndRemovesIt(t *testing.T) {
	debian := os.Getenv("GUEST_DEBIAN")
	if debian == "" {
		t.Fatal("GUEST_DEBIAN is not set: it names the folder of a Debian with systemd; tools/guest-debian makes one")
	}
	kernel := kernelImage(t)
	first := t.TempDir()
	furnish(t, first)
	must(t, os.Mkdir(filepath.Join(first, "disk"), 0o755))
	must(t, os.WriteFile(filepath.Join(first, "init"), []byte(systemdScript), 0o755))
	addModules(t, filepath.Join(first, "modules"), filepath.Dir(filepath.Dir(kernel)))
	initrd := pack(t, first)

	root := filepath.Join(t.TempDir(), "root")
	run(t, "cp", "-a", debian, root)
	run(t, "rm", "-rf", filepath.Join(root, "var/cache/apt"), filepath.Join(root, "var/lib/apt"))
	buildDeb(t, filepath.Join(root, "deacon.deb"))
	units := filepath.Join(root, "etc/systemd/system")
	must(t, os.WriteFile(filepath.Join(root, "begin"), []byte(packageScript), 0o644))
	must(t, os.WriteFile(filepath.Join(units, "administrator.service"), []byte(packageUnit), 0o644))
	must(t, os.WriteFile(filepath.Join(units, "begin.target"),
		[]byte("[Unit]\nRequires=basic.target administrator.service\nAfter=basic.target\n"), 0o644))
	must(t, os.Symlink("begin.target", filepath.Join(units, "default.target")))
	for _, unneeded := range []string{"systemd-timesyncd", "systemd-resolved", "systemd-networkd", "systemd-udevd", "apt-daily"} {
		os.Symlink("/dev/null", filepath.Join(units, unneeded+".service"))
	}
	image := filepath.Join(t.TempDir(), "disk")
	run(t, program(t, "mke2fs", "e2fsprogs"), "-q", "-t", "ext4", "-d", root, image, "4G")
	out := boot(t, kernel, initrd, "-drive", "file="+image+",format=raw,if=virtio,cache=unsafe")
	checkEnd(t, out)
	if !strings.Contains(out, "purging takes that") {
		t.Error("the guest did not come as far as to purge the package")
	}
}

func buildDeb(t *testing.T, to string) {
	t.Helper()
	work := t.TempDir()
	for _, pkg := range []string{"deacon", "deacon-init"} {
		goTool(t, "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(work, "bin", pkg), "./cmd/"+pkg)
	}
	run(t, "cp", "-a", filepath.Join(rig.Root(), "packaging"), filepath.Join(rig.Root(), "config.hcl"), work)
	t.Setenv("ARCH", runtime.GOARCH)
	t.Setenv("VERSION", "0.1.0")
	run(t, "sh", "-c", "cd "+work+` && "$(go -C `+rig.Root()+` tool -modfile=tools/go.mod -n nfpm)" package `+
		"-f packaging/nfpm.yaml -p deb -t "+to)
}
