package box

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/initproto"
	"github.com/deacon-agent/deacon/isolation/record"
)

// inspect says which of a container's records are damaged, beside its own: what
// comes of that others do in silence.
func (b *Box) inspect(spec isolation.Spec) (notes []string) {
	f := b.folder(spec.ID)
	entries, err := os.ReadDir(f.jobs())
	if err != nil {
		return nil // it never had a job
	}
	for _, entry := range entries {
		n, err := strconv.ParseUint(entry.Name(), 10, 32)
		if err != nil {
			continue
		}
		if damagedExit(f.exit(uint32(n))) {
			notes = append(notes, fmt.Sprintf("the record %s is damaged: "+
				"how job %d of container %s ended only its PID 1 can tell, where that lives",
				f.exit(uint32(n)), n, spec.ID))
		}
		if err := record.Check(f.job(uint32(n)), offsetsRecord); errors.Is(err, record.ErrCorrupt) {
			notes = append(notes, fmt.Sprintf("%v: what job %d of container %s wrote is told once more from the beginning",
				err, n, spec.ID))
		}
	}
	return notes
}

// offsetsRecord is isolation/output's: how far a job's output was taken.
const offsetsRecord = "offsets"

// damagedExit says that there is a record and that it is none. An empty one is
// of a job that has not ended; PID 1 writes it at once, so it is looked at again.
func damagedExit(path string) bool {
	for range 2 {
		content, err := os.ReadFile(path)
		if err != nil || len(content) == 0 {
			return false
		}
		if _, err := initproto.DecodeExit(content); err == nil {
			return false
		}
	}
	return true
}
