package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation/cgroup"
	"github.com/deacon-agent/deacon/isolation/guard/filter"
	"github.com/deacon-agent/deacon/isolation/rootfs"
)

// The oldest kernel that a node runs on, and the first that copies detached mounts.
var oldest, copies = version{6, 1}, version{6, 15}

type version struct{ major, minor int }

func (v version) before(other version) bool {
	return v.major < other.major || v.major == other.major && v.minor < other.minor
}

func kernel(context.Context, *patient) Finding {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return Finding{Verdict: Unknown, What: reasonOf(err)}
	}
	return judgeKernel(unix.ByteSliceToString(name.Release[:]))
}

func judgeKernel(release string) Finding {
	var v version
	if _, err := fmt.Sscanf(release, "%d.%d", &v.major, &v.minor); err != nil {
		return Finding{Verdict: Unknown, What: "a kernel without a number: " + release}
	}
	switch {
	case v.before(oldest):
		return missing("run Linux 6.1 or a later one", "Linux %s lacks what containers are made of", release)
	case v.before(copies):
		return weak("Linux 6.15 has both", "Linux %s can't copy or stack detached mounts: starts take longer", release)
	}
	return good("Linux %s", release)
}

// inNamespaces is a process with all the namespaces of a container; it ends with its
// standard input.
func inNamespaces(ctx context.Context) (*exec.Cmd, func(), error) {
	cmd := exec.CommandContext(ctx, "/bin/cat")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWUTS |
			unix.CLONE_NEWIPC | unix.CLONE_NEWCGROUP,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 1_000_000, Size: 65536}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 1_000_000, Size: 65536}},
		Pdeathsig:   unix.SIGKILL,
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	return cmd, func() { stdin.Close(); cmd.Wait() }, nil
}

func namespaces(ctx context.Context, _ *patient) Finding {
	_, end, err := inNamespaces(ctx)
	if err != nil {
		return missing("see that user namespaces are on: sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone; "+
			"inside of a container the node needs all of root's rights", "no process can be made with namespaces of its own: %s",
			reasonOf(err))
	}
	end()
	return good("all seven, with a user namespace")
}

func cgroups(context.Context, *patient) Finding {
	driver, notes, err := cgroup.Detect(cgroup.Config{Group: "deacon-doctor"})
	if err != nil {
		return missing("mount a unified tree: mount -t cgroup2 cgroup2 /sys/fs/cgroup", "%s", reasonOf(err))
	}
	if os.Geteuid() == 0 {
		if err := unix.Access("/sys/fs/cgroup", unix.W_OK); err != nil {
			return missing("mount /sys/fs/cgroup so that it can be written to", "no group can be made: %s", reasonOf(err))
		}
	}
	if len(notes) > 0 {
		return weak("boot with a unified tree (systemd.unified_cgroup_hierarchy=1) and swapaccount=1",
			"%s: %s", driver.Name(), strings.Join(notes, "; "))
	}
	return good("%s, with memory, cpu and pids", driver.Name())
}

// mounts makes a container's file system, shifted and stacked, and attaches it nowhere.
func mounts(ctx context.Context, _ *patient) (f Finding) {
	const remedy = "the kernel needs overlayfs, and mounts with shifted owners of the file system of /usr"
	process, end, err := inNamespaces(ctx)
	if err != nil {
		return Finding{Verdict: Unknown, What: "there is no user namespace to try it with"}
	}
	defer end()
	userns, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", process.Process.Pid))
	if err != nil {
		return Finding{Verdict: Unknown, What: reasonOf(err)}
	}
	defer userns.Close()
	layer, err := rootfs.Layer("/usr", userns, true)
	if err != nil {
		return missing(remedy, "/usr can't be mounted with shifted owners: %s", reasonOf(err))
	}
	defer layer.Close()
	dev, err := rootfs.DevTemplate()
	if err != nil {
		return missing(remedy, "no /dev can be made: %s", reasonOf(err))
	}
	defer dev.Close()
	return good("shifted owners and a /dev of its own")
}

func filters(context.Context, *patient) Finding {
	const remedy = "the kernel needs CONFIG_SECCOMP_FILTER"
	actions, err := os.ReadFile("/proc/sys/kernel/seccomp/actions_avail")
	if errors.Is(err, fs.ErrNotExist) {
		return missing(remedy, "the kernel has no system call filters")
	}
	for _, action := range []string{"errno", "kill_process", "allow"} {
		if err == nil && !strings.Contains(string(actions), action) {
			return missing(remedy, "the kernel's system call filters have no %s", action)
		}
	}
	if _, err := filter.Compile(); err != nil {
		return missing("deacon is built for amd64 and arm64", "no filter for this machine: %s", reasonOf(err))
	}
	return good("seccomp")
}

func pressure(context.Context, *patient) Finding {
	stalls, err := cgroup.MachinePressure()
	if err != nil || len(stalls) == 0 {
		return weak("boot with psi=1", "the kernel doesn't account for pressure: a metric is missing")
	}
	return good("accounted for")
}
