package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/transfer"
	"github.com/deacon-agent/deacon/messaging"
)

// crashes keeps the logs of crashed instances (wire/dea.md b.4):
//
//	crashes/<instance>/logs   what was in the container's /home/vcap/logs
//	crashes/.<instance>       being copied, or left by an agent that died over it
//
// Its files are the node's own, and only root may enter the folder.
type crashes struct {
	dir      string
	most     int64
	disk     float64 // share of blocks that may be in use
	inodes   float64
	statfs   func(path string, st *unix.Statfs_t) error
	records  func() []actors.Record
	copyOut  func(ctx context.Context, container string, c isolation.Copy) error
	mu       sync.Mutex
	underWay map[string]bool // by folder
}

const (
	crashesFolder = "crashes"
	logsFolder    = "logs"
	// crashEntriesMax is how many files one crash may leave.
	crashEntriesMax = 10_000
)

// errNotKept says that nothing is kept of an instance, or not yet.
var errNotKept = errors.New("agent: none of its logs are kept")

var _ actors.Crashes = (*crashes)(nil)

func openCrashes(a *agent, c Directory) (*crashes, error) {
	k := &crashes{
		dir: filepath.Join(a.state.path, crashesFolder), most: c.CrashLogsMax,
		disk: c.CrashDiskUsedMax, inodes: c.CrashInodesUsedMax, statfs: unix.Statfs,
		records: a.store.All, copyOut: live{a.box, a.log}.CopyOut, underWay: map[string]bool{},
	}
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return nil, fmt.Errorf("agent: make the folder of crashes: %w", err)
	}
	return k, nil
}

func beingCopied(instance string) string { return "." + instance }

// Keep copies what the application's user may read of its logs. What came is kept
// although the rest did not.
func (k *crashes) Keep(ctx context.Context, instance, container string) error {
	target, copied := filepath.Join(k.dir, instance), beingCopied(instance)
	if _, err := os.Lstat(target); err == nil {
		return nil
	}
	if !k.begin(copied) {
		return errors.New("agent: they are being copied")
	}
	defer k.over(copied)
	folder := filepath.Join(k.dir, copied)
	if err := errors.Join(os.RemoveAll(folder), os.Mkdir(folder, 0o700)); err != nil {
		return fmt.Errorf("agent: keep the logs of a crash: %w", err)
	}
	failed := k.copyOut(ctx, container, isolation.Copy{
		Source: logsFolder + "/", Target: filepath.Join(folder, logsFolder),
		MostBytes: k.most, MostEntries: crashEntriesMax,
	})
	if _, err := os.Lstat(filepath.Join(folder, logsFolder)); err != nil && failed != nil {
		return errors.Join(failed, os.RemoveAll(folder))
	}
	return errors.Join(failed, os.Rename(folder, target))
}

func (k *crashes) begin(folder string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.underWay[folder] {
		return false
	}
	k.underWay[folder] = true
	return true
}

func (k *crashes) over(folder string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.underWay, folder)
}

// Sweep removes what no record is of. The folders are listed first: what is there
// by then had a record when it was made, and has none any more or never will.
func (k *crashes) Sweep(context.Context) (gone []string, err error) {
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		return nil, fmt.Errorf("agent: sweep crashes: %w", err)
	}
	since := map[string]actors.Record{}
	for _, r := range k.records() {
		if r.State == messaging.Crashed {
			since[r.Instance] = r
		}
	}
	var kept []actors.Record
	for _, entry := range entries {
		r, known := since[entry.Name()]
		switch {
		case known:
			kept = append(kept, r)
		case !strings.HasPrefix(entry.Name(), "."):
			err = errors.Join(err, k.remove(entry.Name()))
		case k.begin(entry.Name()): // nobody copies there
			err = errors.Join(err, k.remove(entry.Name()))
			k.over(entry.Name())
		}
	}
	slices.SortFunc(kept, func(a, b actors.Record) int {
		return cmp.Or(a.Since.Compare(b.Since), strings.Compare(a.Instance, b.Instance))
	})
	for _, r := range kept { // oldest first
		full, failed := k.full()
		if err = errors.Join(err, failed); !full {
			break
		}
		if failed := k.remove(r.Instance); failed != nil {
			err = errors.Join(err, failed)
			continue
		}
		gone = append(gone, r.Instance)
	}
	return gone, err
}

func (k *crashes) remove(name string) error { return os.RemoveAll(filepath.Join(k.dir, name)) }

// full says whether more of the disk is in use than crashes may stand for, as
// df(1) counts: what only root may still use is in use.
func (k *crashes) full() (bool, error) {
	var st unix.Statfs_t
	if err := k.statfs(k.dir, &st); err != nil {
		return false, fmt.Errorf("agent: how full is %s: %w", k.dir, err)
	}
	used := st.Blocks - st.Bfree
	if total := used + st.Bavail; total > 0 && float64(used) > k.disk*float64(total) {
		return true, nil
	}
	// btrfs has no number of inodes.
	return st.Files > 0 && float64(st.Files-st.Ffree) > k.inodes*float64(st.Files), nil
}

// open opens what is kept of an instance.
func (k *crashes) open(instance, path string) (*os.File, error) {
	fd, err := unix.Open(filepath.Join(k.dir, instance), unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNotKept
	}
	if err != nil {
		return nil, fmt.Errorf("agent: open the logs of a crash: %w", err)
	}
	root := os.NewFile(uintptr(fd), instance)
	defer root.Close()
	return transfer.OpenKept(transfer.Side{Root: root, Path: path})
}
