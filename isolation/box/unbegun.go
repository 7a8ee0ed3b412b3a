package box

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/deacon-agent/deacon/isolation"
)

// unbegun says that nothing is known of a container but what it was to be: no
// job of it wrote anything, none ended, none was forgotten. Where its PID 1 is
// dead, nothing is lost by making it again.
func (f folder) unbegun() bool {
	if !empty(filepath.Join(string(f), usedFile)) {
		return false
	}
	jobs, err := os.ReadDir(f.jobs())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false
	}
	for _, job := range jobs {
		for _, name := range []string{stdoutFile, stderrFile, exitFile} {
			if !empty(filepath.Join(f.jobs(), job.Name(), name)) {
				return false
			}
		}
	}
	return true
}

// empty says that there is nothing in a file, or no file.
func empty(name string) bool {
	info, err := os.Lstat(name)
	return errors.Is(err, os.ErrNotExist) || err == nil && info.Size() == 0
}

// giveWay takes away what an agent that was killed over the making of a
// container left of it, and says whether there was such a thing. The caller has
// the container's turn, so nobody is making it now.
func (b *Box) giveWay(ctx context.Context, id string) (gone bool, err error) {
	former, err := b.folder(id).spec()
	if err != nil {
		return false, nil // it is no container's
	}
	if _, err := b.reach(ctx, former); !errors.Is(err, isolation.ErrGone) || !b.folder(id).unbegun() {
		return false, nil
	}
	return true, b.release(ctx, []string{id})
}
