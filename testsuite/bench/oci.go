package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// oci is runc or crun, with the CNI bridge plugin.
type oci struct {
	shop    *workshop
	program string
	folder  string
	net     *cni
	room    *room    // where its commands are started; nil: anywhere
	holder  *os.File // its descriptor is where the container's network namespace is found
	spec    map[string]any
	mounts  []any // as `runc spec` proposes them
	made    atomic.Int64
}

// Limits as the floor sets them.
var ociResources = map[string]any{
	"devices": []any{map[string]any{"allow": false, "access": "rwm"}},
	"memory":  map[string]any{"limit": 128 << 20},
	"cpu":     map[string]any{"shares": 512, "quota": 50_000, "period": 100_000},
	"pids":    map[string]any{"limit": 64},
}

func newOCI(s *stand, shop *workshop, program string) *oci {
	o := &oci{shop: shop, program: program, folder: filepath.Join(shop.folder, program)}
	s.must(os.MkdirAll(o.bundle("start"), 0o711))
	o.net = newCNI(s, shop, program)
	var err error
	if program == "crun" {
		o.room, err = newRoom(func() error {
			err := unix.Unmount("/sys/fs/cgroup/unified", unix.MNT_DETACH)
			if err != nil && err != unix.EINVAL && err != unix.ENOENT { // this machine has none
				return fmt.Errorf("take the v2 cgroups away from crun: %w", err)
			}
			return nil
		})
		s.must(err)
	}
	o.holder, err = os.Open(os.DevNull)
	s.must(err)
	s.Cleanup(func() { o.holder.Close() })
	s.must(o.readSpec())
	s.Cleanup(func() { removeGroups(s, o.group()) })
	return o
}

// runcName is the row that throughput is compared with.
const runcName = "runc, as runc spec has it"

// cniSuffix follows the program's name in the row's.
const cniSuffix = " + CNI bridge"

func (o *oci) name() string              { return o.program + cniSuffix }
func (o *oci) group() string             { return group + "-" + o.program }
func (o *oci) bundle(name string) string { return filepath.Join(o.folder, "bundles", name) }

// readSpec takes what the program itself proposes.
func (o *oci) readSpec() error {
	if out, err := exec.Command("runc", "spec", "--bundle", o.bundle("start")).CombinedOutput(); err != nil {
		return fmt.Errorf("runc spec: %w\n%s", err, out)
	}
	config := filepath.Join(o.bundle("start"), "config.json")
	content, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(content, &o.spec); err != nil {
		return fmt.Errorf("%s: %w", config, err)
	}
	o.mounts = o.spec["mounts"].([]any)
	o.spec["root"] = map[string]any{"path": o.shop.rootfs, "readonly": true}
	return nil
}

// withoutCgroups leaves the mount of the cgroups out: it costs as many mounts as
// there are hierarchies, and no row but the runtimes' has one.
func withoutCgroups(mounts []any) (fewer []any) {
	for _, mount := range mounts {
		if mount.(map[string]any)["type"] != "cgroup" {
			fewer = append(fewer, mount)
		}
	}
	return fewer
}

// writeBundle makes a bundle for one container. An empty netns is a new network
// namespace with nothing in it.
func (o *oci) writeBundle(id, netns, program string, mounts []any) error {
	o.spec["mounts"] = mounts
	process := o.spec["process"].(map[string]any)
	process["terminal"] = false
	process["args"] = []string{program}
	linux := o.spec["linux"].(map[string]any)
	linux["cgroupsPath"] = "/" + o.group() + "/" + id
	linux["resources"] = ociResources
	namespaces := []any{}
	for _, kind := range []string{"pid", "ipc", "uts", "mount"} {
		namespaces = append(namespaces, map[string]any{"type": kind})
	}
	network := map[string]any{"type": "network"}
	if netns != "" {
		network["path"] = netns
	}
	namespaces = append(namespaces, network)
	linux["namespaces"] = namespaces
	content, err := json.Marshal(o.spec)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.bundle(id), 0o711); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(o.bundle(id), "config.json"), content, 0o600)
}

// nextID also makes the bundle: an engine writes it before it is asked to start.
func (o *oci) nextID(netns, program string, mounts []any) (string, error) {
	id := fmt.Sprintf("bench%d", o.made.Add(1))
	return id, o.writeBundle(id, netns, program, mounts)
}

func (o *oci) command(args ...string) *exec.Cmd {
	cmd := exec.Command(o.program, append([]string{"--root", filepath.Join(o.folder, "state")}, args...)...)
	cmd.Stderr = os.Stderr
	return cmd
}

func (o *oci) start(cmd *exec.Cmd) error {
	if o.room == nil {
		return cmd.Start()
	}
	return o.room.do(cmd.Start)
}

func (o *oci) call(args ...string) error {
	cmd := o.command(args...)
	if err := o.start(cmd); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s %s: %w", o.program, args[0], err)
	}
	return nil
}

// netns is the path by which others reach the namespace of the container that
// is being made. It is the same for all, so that the bundle can be written before
// the clock starts.
func (o *oci) netns() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), o.holder.Fd()) }

// wire makes a network namespace with a link in it.
func (o *oci) wire(id string) error {
	ns, err := newNetns()
	if err != nil {
		return err
	}
	defer ns.Close()
	if err := unix.Dup3(int(ns.Fd()), int(o.holder.Fd()), unix.O_CLOEXEC); err != nil {
		return err
	}
	return o.net.add(id, o.netns())
}

// unwire lets the namespace go.
func (o *oci) unwire() {
	if nothing, err := os.Open(os.DevNull); err == nil {
		unix.Dup3(int(nothing.Fd()), int(o.holder.Fd()), unix.O_CLOEXEC)
		nothing.Close()
	}
}

func (o *oci) trial() (_ trial, err error) {
	id, err := o.nextID(o.netns(), "/bin/ready", withoutCgroups(o.mounts))
	if err != nil {
		return trial{}, err
	}
	defer os.RemoveAll(o.bundle(id))
	v, err := newVoice()
	if err != nil {
		return trial{}, err
	}
	defer v.close()

	begun := now()
	if err := o.wire(id); err != nil {
		return trial{}, err
	}
	defer o.unwire()
	run := o.command("run", "--bundle", o.bundle(id), id)
	run.Stdout = v.write
	if err := o.start(run); err != nil {
		return trial{}, err
	}
	spoke, failed := v.firstByte()

	asked := now()
	if failed == nil {
		failed = o.call("kill", id, "KILL")
	}
	if failed != nil {
		run.Process.Kill()
	}
	run.Wait() // it removes the container and ends with the application's 137
	if failed == nil {
		failed = v.silence()
	}
	if err := o.net.del(id, o.netns()); failed == nil {
		failed = err
	}
	return trial{firstByte: spoke.since(begun), gone: now().since(asked)}, failed
}

// bulk is an OCI runtime without a network plugin, as it is asked for
// containers in numbers: as `runc spec` proposes, with an empty network namespace,
// which is how the limit's figure was taken. Without its cgroups it does less.
type bulk struct {
	*oci
	withoutCgroups bool
}

func (r bulk) name() string {
	if r.withoutCgroups {
		return r.program + ", without its cgroup mount"
	}
	return r.program + strings.TrimPrefix(runcName, "runc")
}

// rate runs containers that do nothing.
func (r bulk) rate(b batch) (float64, error) {
	mounts := r.mounts
	if r.withoutCgroups {
		mounts = withoutCgroups(mounts)
	}
	ids := make([]string, b.total)
	for i := range ids {
		id, err := r.nextID("", "/bin/true", mounts)
		if err != nil {
			return 0, err
		}
		defer os.RemoveAll(r.bundle(id))
		ids[i] = id
	}
	return b.run(func(i int) error { return r.call("run", "--bundle", r.bundle(ids[i]), ids[i]) })
}
