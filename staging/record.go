package staging

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	recordName  = "droplet.json"
	settledName = "settled"
	layerName   = "layer"
	// recordMax bounds a record: a start command and a little more.
	recordMax = 4 * infoMax
)

// record is what is known of a published droplet. It lies beside the layer.
type record struct {
	digests
	Name         string `json:"name"` // of its folder
	StartCommand string `json:"start_command"`
	Startup      bool   `json:"startup"`
	// ProfileScripts is nil in the record of an agent that didn't look.
	ProfileScripts *bool     `json:"profile_scripts"`
	StateFile      string    `json:"state_file,omitempty"`
	Bytes          int64     `json:"bytes"` // unpacked
	Entries        int64     `json:"entries"`
	Fetched        time.Time `json:"fetched"`
	BootID         string    `json:"boot_id"` // of the boot in which it was written
}

func (r record) save(folder string) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, recordName), append(text, '\n'), 0o600)
}

// errDamaged says that a published folder can't be trusted.
var errDamaged = errors.New("damaged")

// loadRecord reads the record of the published folder and says whether it and
// the layer can be trusted: fs.ErrNotExist where there is no such folder,
// errDamaged where not.
func loadRecord(folder, bootID string) (record, error) {
	var r record
	path := filepath.Join(folder, recordName)
	if _, err := os.Lstat(folder); err != nil {
		return r, err
	}
	found, err := os.Lstat(path)
	if err != nil || !found.Mode().IsRegular() || found.Size() > recordMax {
		return r, fmt.Errorf("%w: %s is missing or no record", errDamaged, path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return r, fmt.Errorf("%w: %w", errDamaged, err)
	}
	if err := json.Unmarshal(text, &r); err != nil || r.Name != filepath.Base(folder) {
		return r, fmt.Errorf("%w: %s is no record of this droplet", errDamaged, path)
	}
	if r.BootID != bootID && !isSettled(folder) {
		return r, fmt.Errorf("%w: %s may not have been on the disk when the machine went down", errDamaged, folder)
	}
	return r, nil
}

func isSettled(folder string) bool {
	_, err := os.Lstat(filepath.Join(folder, settledName))
	return err == nil
}

// settle makes sure that the published folders have reached the disk, and
// marks them so. The mark itself needs no sync: it can't be on the disk before
// what it vouches for, and if it is lost, the droplet is fetched again.
func settle(dir string, folders []string) error {
	if len(folders) == 0 {
		return nil
	}
	handle, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer handle.Close()
	// One call for all of them: file by file, 5,000 files would be as many
	// waits for the disk.
	if err := unix.Syncfs(int(handle.Fd())); err != nil {
		return fmt.Errorf("sync the file system of %s: %w", dir, err)
	}
	for _, folder := range folders {
		mark, err := os.OpenFile(filepath.Join(folder, settledName), os.O_WRONLY|os.O_CREATE, 0o600)
		if errors.Is(err, fs.ErrNotExist) {
			continue // replaced or removed meanwhile
		}
		if err != nil {
			return err
		}
		mark.Close()
	}
	return nil
}

// currentBoot is the id that the kernel chose when the machine came up.
func currentBoot() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(id)), nil
}
