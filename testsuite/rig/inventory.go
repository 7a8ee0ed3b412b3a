package rig

import (
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Inventory lists everything that a living node has on this machine, each thing
// with a name that stays the same from one agent to the next: the groups with
// who is in them, links, table elements, tracked connections from or to its
// pool, mounts, loop devices, and what lies in its folders. A node that was given
// everything back has what it had when it was new. The areas of its disk are seen
// by the descriptors of its agent alone, which has them mounted for nobody else.
func (t Traces) Inventory(pool netip.Prefix, agent int) []string {
	all := t.groups()
	links, _ := netlink.LinkList()
	for _, link := range links {
		if strings.HasPrefix(link.Attrs().Name, "dcn"+t.Tag) {
			all = append(all, "link "+link.Attrs().Name)
		}
	}
	for _, part := range [][]string{t.elements(), tracked(pool), t.mounts(), t.folders(), areas(agent)} {
		all = append(all, part...)
	}
	slices.Sort(all)
	return all
}

// Beyond waits until the node has nothing that a list doesn't name, and returns
// what it has otherwise when the kernel had its time.
func (t Traces) Beyond(former []string, pool netip.Prefix, agent int) []string {
	deadline := time.Now().Add(leftoversMax)
	for {
		left := t.Inventory(pool, agent)
		for _, name := range former {
			if i := slices.Index(left, name); i >= 0 {
				left = slices.Delete(left, i, i+1)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// groups lists the node's cgroups and the processes in them, by their programs
// alone: the launcher is another process with each agent. Processes of every
// hierarchy are listed, so one that left some of them shows up too.
func (t Traces) groups() (all []string) {
	tops, _ := filepath.Glob("/sys/fs/cgroup/*/deacon-" + t.Tag)
	if alone := "/sys/fs/cgroup/deacon-" + t.Tag; exists(alone) {
		tops = append(tops, alone)
	}
	for _, top := range tops {
		filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return nil
			}
			all = append(all, "cgroup "+path)
			pids, _ := os.ReadFile(filepath.Join(path, "cgroup.procs"))
			for pid := range strings.FieldsSeq(string(pids)) {
				// Not its comm, which a program may only be about to change.
				if program, err := os.Readlink("/proc/" + pid + "/exe"); err == nil {
					all = append(all, "process of "+program+" in "+path)
				}
			}
			return nil
		})
	}
	return all
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// elements lists the table's sets with all that is in them, and its chains with
// how many rules they have.
func (t Traces) elements() (all []string) {
	conn, err := nftables.New()
	if err != nil {
		return []string{"nftables: " + err.Error()}
	}
	chains, _ := conn.ListChains()
	for _, chain := range chains {
		if chain.Table.Name != "deacon_"+t.Tag {
			continue
		}
		rules, _ := conn.GetRules(chain.Table, chain)
		all = append(all, fmt.Sprintf("chain %s with %d rules", chain.Name, len(rules)))
	}
	table := &nftables.Table{Name: "deacon_" + t.Tag, Family: nftables.TableFamilyINet}
	sets, _ := conn.GetSets(table)
	for _, set := range sets {
		elements, _ := conn.GetSetElements(set)
		for _, element := range elements {
			all = append(all, fmt.Sprintf("element %s %x %x", set.Name, element.Key, element.Val))
		}
	}
	return all
}

// tracked are the connections that the kernel still knows from or to the pool.
func tracked(pool netip.Prefix) (all []string) {
	flows, _ := netlink.ConntrackTableList(netlink.ConntrackTable, netlink.InetFamily(unix.AF_INET))
	for _, flow := range flows {
		for _, address := range [][]byte{flow.Forward.SrcIP, flow.Forward.DstIP, flow.Reverse.SrcIP, flow.Reverse.DstIP} {
			if a, ok := netip.AddrFromSlice(address); ok && pool.Contains(a.Unmap()) {
				all = append(all, fmt.Sprintf("connection %s", flow))
				break
			}
		}
	}
	return all
}

// quotaGroupsMax is for some hundreds of subvolumes that were removed.
const quotaGroupsMax = time.Minute

// QuotaGroups lists those of the btrfs pools in the state folder, once the file
// system has dropped what was removed: it does so behind everybody's back, after
// the next commit, and then takes the group with the subvolume. agent is who has
// the pool mounted, for nobody else to see.
func (t Traces) QuotaGroups(agent int) (left []string) {
	deadline := time.Now().Add(quotaGroupsMax)
	for {
		commitPools(agent)
		if left = t.quotaGroups(); len(left) == 0 || time.Now().After(deadline) {
			return left
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// btrfsSync is BTRFS_IOC_SYNC, which unlike syncfs wakes who drops subvolumes.
const btrfsSync = 0x94<<8 | 8

// commitPools has btrfs commit what it holds, by the agent's own descriptors.
func commitPools(agent int) {
	inPools(agent, func(fd int, _ string) { unix.IoctlSetInt(fd, btrfsSync, 0) })
}

// areas are what lies in the agent's pools.
func areas(agent int) (all []string) {
	inPools(agent, func(_ int, path string) {
		entries, _ := os.ReadDir(path)
		for _, entry := range entries {
			if name := "area " + entry.Name(); !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	})
	return all
}

// inPools calls act for every folder of a btrfs file system that an agent has open.
func inPools(agent int, act func(fd int, path string)) {
	descriptors, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", agent))
	for _, descriptor := range descriptors {
		if name, err := os.Readlink(descriptor); err != nil || !strings.HasPrefix(name, "/") {
			continue
		}
		fd, err := unix.Open(descriptor, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		var fs unix.Statfs_t
		if unix.Fstatfs(fd, &fs) == nil && fs.Type == unix.BTRFS_SUPER_MAGIC {
			act(fd, descriptor+"/")
		}
		unix.Close(fd)
	}
}

func (t Traces) quotaGroups() (all []string) {
	backing, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, file := range backing {
		image, err := os.ReadFile(file)
		if err != nil || t.State == "" || !t.names(string(image)) {
			continue
		}
		device := filepath.Base(filepath.Dir(filepath.Dir(file)))
		pools, _ := filepath.Glob("/sys/fs/btrfs/*/devices/" + device)
		for _, pool := range pools {
			groups, _ := filepath.Glob(filepath.Join(filepath.Dir(filepath.Dir(pool)), "qgroups", "[0-9]*_[0-9]*"))
			for _, group := range groups {
				if filepath.Base(group) != "0_5" { // the file system's own
					all = append(all, "quota group "+filepath.Base(group))
				}
			}
		}
	}
	return all
}

// folders are what lies in the state folder, but for what is in the records, the
// pool's image and the shelf, which is made to keep something.
func (t Traces) folders() (all []string) {
	for _, pattern := range []string{"*", "containers/*", "trash/*", "disk/*", "disk/*/*"} {
		found, _ := filepath.Glob(filepath.Join(t.State, pattern))
		for _, path := range found {
			all = append(all, "file "+path)
		}
	}
	return all
}
