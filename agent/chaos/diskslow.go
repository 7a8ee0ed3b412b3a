package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// diskSlowBytes is what is written again and again.
const diskSlowBytes = 32 << 20

var diskSlow = Fault{
	Name: "disk-slow", Harm: Nobody, For: 10 * time.Second,
	Does:      "32 MiB are written to the state folder's disk and synced again and again: others' writes and syncs wait",
	Heals:     "the writing ends",
	Available: realDisk,
	Inject: func(_ context.Context, n *Node, _ Order) (Injection, error) {
		folder, err := n.ballast()
		if err != nil {
			return Injection{}, err
		}
		file, err := os.OpenFile(filepath.Join(folder, "busy"), os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return Injection{}, errors.Join(err, os.RemoveAll(folder))
		}
		over, ended := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			defer file.Close()
			keepBusy(file, over)
		}()
		var once sync.Once
		return Injection{Heal: func(context.Context) error {
			once.Do(func() { close(over) })
			<-ended
			return os.RemoveAll(folder)
		}}, nil
	},
}

// keepBusy writes and syncs until it is told that it is over. An error is as
// slow as a disk can be.
func keepBusy(file *os.File, over <-chan struct{}) {
	block := make([]byte, 1<<20)
	for at := int64(0); ; at = (at + int64(len(block))) % diskSlowBytes {
		select {
		case <-over:
			return
		default:
		}
		if _, err := file.WriteAt(block, at); err != nil {
			<-over
			return
		}
		if at%(8<<20) == 0 {
			_ = file.Sync()
		}
	}
}

// realDisk says whether there is a disk to keep busy, and room for it.
func realDisk(n *Node) error {
	var free unix.Statfs_t
	if err := unix.Statfs(n.State, &free); err != nil {
		return err
	}
	if free.Type == unix.TMPFS_MAGIC {
		return fmt.Errorf("%s is in memory: no disk is slow there", n.State)
	}
	if int64(free.Bavail)*free.Bsize < 4*diskSlowBytes {
		return fmt.Errorf("there is no room on the file system of %s", n.State)
	}
	return nil
}
