package box

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/slot"
)

// Intents reads the intent records in a state folder, of containers living and
// dead, and changes nothing: an agent may be at work on it. A record that can't
// be read is an error, because nobody knows what it says.
func Intents(state string) ([]isolation.Spec, error) {
	b := &Box{containers: filepath.Join(state, "containers")}
	entries, err := os.ReadDir(b.containers)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("box: %w", err)
	}
	var specs []isolation.Spec
	for _, entry := range entries {
		if !slot.ValidID(entry.Name()) {
			continue
		}
		f := b.folder(entry.Name())
		spec, err := f.spec()
		if former, found := f.former(entry.Name(), err); found {
			spec, err = former, nil
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue // destroyed meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("box: container %s: %w", entry.Name(), err)
		}
		specs = append(specs, spec)
	}
	return specs, nil
}
