package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/agent"
	"github.com/deacon-agent/deacon/isolation/disk"
	"github.com/deacon-agent/deacon/messaging/bus"
)

const (
	gib = 1 << 30
	// trialPool is how large a pool is made to see whether one can be.
	trialPool = 256 << 20
	// roomLeast is what is of any use to applications.
	roomLeast = gib
)

// standing is the folder, or the nearest one above that is there.
func standing(folder string) string {
	for {
		if info, err := os.Stat(folder); err == nil && info.IsDir() {
			return folder
		}
		above := filepath.Dir(folder)
		if above == folder {
			return folder
		}
		folder = above
	}
}

// diskLimits opens the configured driver in a folder that is gone afterwards.
func diskLimits(_ context.Context, p *patient) Finding {
	dir, err := os.MkdirTemp(standing(p.config.Node.State), ".deacon-doctor-")
	if err != nil {
		return missing("", "nothing can be made where the state folder is: %s", reasonOf(err))
	}
	defer os.RemoveAll(dir)
	driver, notes, err := disk.Open(disk.Config{
		Dir: filepath.Join(dir, "disk"), Driver: p.config.Disk.Driver, PoolBytes: trialPool,
	})
	if err != nil {
		return missing(`install btrfs-progs, or configure disk { driver = "tmpfs" } or "none"`, "%s", reasonOf(err))
	}
	if err := driver.Close(); err != nil {
		return weak("", "%s works, but could not be taken away: %s", driver.Name(), reasonOf(err))
	}
	if driver.Name() == "none" {
		return weak(`configure disk { driver = "auto" }`, "applications' disk limits are not enforced")
	}
	if len(notes) > 0 && driver.Name() == "tmpfs" {
		return weak("install btrfs-progs", "tmpfs: %s", notes[0])
	}
	return good("%s", driver.Name())
}

// unfit are file systems that an overlay can't write to, or that lose what matters.
var unfit = map[int64]string{
	unix.OVERLAYFS_SUPER_MAGIC: "overlayfs", unix.NFS_SUPER_MAGIC: "nfs", unix.MSDOS_SUPER_MAGIC: "vfat",
	unix.SQUASHFS_MAGIC: "squashfs",
}

func stateFolder(_ context.Context, p *patient) Finding {
	folder := standing(p.config.Node.State)
	var s unix.Statfs_t
	if err := unix.Statfs(folder, &s); err != nil {
		return missing("", "%s: %s", folder, reasonOf(err))
	}
	free := int64(s.Bavail) * s.Bsize
	const remedy = "set node.state to a folder of a disk with ext4, xfs or btrfs"
	switch name := unfit[int64(s.Type)]; {
	case name != "":
		return missing(remedy, "%s is on %s, which containers can't stand on", folder, name)
	case s.Flags&unix.ST_RDONLY != 0:
		return missing(remedy, "%s can only be read", folder)
	case s.Type == unix.TMPFS_MAGIC:
		return weak(remedy, "%s is in memory: who the node is and what should run is lost with the machine", folder)
	case free < roomLeast:
		return weak("make room, or set node.state to another disk", "%s has %.1f GiB left", folder, float64(free)/gib)
	}
	return good("%s, %.1f GiB free", folder, float64(free)/gib)
}

// filesLeast is what the agent asks for: a container takes some ten descriptors.
const filesLeast = 16384

func openFiles(context.Context, *patient) Finding {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return Finding{Verdict: Unknown, What: reasonOf(err)}
	}
	if limit.Max < filesLeast {
		return weak("raise it where the agent is started: LimitNOFILE=1048576 in its unit",
			"a process may open %d files: enough for %d containers", limit.Max, limit.Max/10)
	}
	return good("a process may open %d", limit.Max)
}

// configured has the agent's own look at what its file names.
func configured(_ context.Context, p *patient) Finding {
	if _, _, err := p.config.Resolve(); err != nil {
		if errors.Is(err, fs.ErrNotExist) && !exists(p.config.Node.State) {
			return good("all there; the state folder is made at the first start")
		}
		return missing("", "%s", reasonOf(err))
	}
	return good("stacks and programs are there")
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// natsMax is how long a server may take to answer; the agent would try for ever.
const natsMax = 3 * time.Second

func nats(ctx context.Context, p *patient) Finding {
	config, err := agent.BusConfig(p.config.NATS, "doctor", hclog.NewNullLogger())
	if err != nil {
		return missing("", "%s", reasonOf(err))
	}
	ctx, cancel := context.WithTimeout(ctx, natsMax)
	defer cancel()
	client, err := bus.Dial(ctx, config)
	if err != nil {
		return weak("start a NATS server there, or set nats.servers; a node runs without, but nobody can tell it what",
			"%s", reasonOf(err))
	}
	client.Close()
	return good("connected")
}

func clock(context.Context, *patient) Finding {
	state, err := unix.Adjtimex(&unix.Timex{})
	if err != nil {
		return Finding{Verdict: Unknown, What: reasonOf(err)}
	}
	if state == unix.TIME_ERROR {
		return weak("install chrony, or switch systemd-timesyncd on",
			"nobody keeps it: logs and times of several nodes won't agree")
	}
	return good("kept by somebody; it is %s", time.Now().UTC().Format(time.DateTime))
}
