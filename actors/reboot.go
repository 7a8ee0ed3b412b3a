package actors

import (
	"time"

	"github.com/deacon-agent/deacon/messaging"
)

// Boot is the machine's boot that an agent finds itself in.
type Boot struct {
	ID             string
	Report         bool // what ran in an earlier one is told of as crashed, and not started again
	At             time.Time
	NewContainerID func() string
}

// StartOver has every instance of an earlier boot begin anew: in a container of its
// own, because of the former one only the folder is left, which goes as an orphan's
// does. It returns the records that it changed, which have to be on disk before
// anything is started: who found them as they were would start a second one.
//
// Where it is to be reported, one that ran stays what it was: it is found dead, and
// its end told as it is on record, if it is.
func (b Boot) StartOver(s Store) (changed []Record) {
	for _, r := range s.All() {
		if r.BootID == b.ID || r.State == messaging.Crashed {
			continue
		}
		r.BootID, r.EvacuateBy, r.EvacuatedAt = b.ID, time.Time{}, time.Time{} // it was left, for whatever reason
		switch {
		case !r.live() || r.State == messaging.Stopping, b.Report && r.State == messaging.Running:
		case b.Report && r.State == messaging.Starting:
			r.State, r.Since, r.Untold = messaging.Crashed, b.At, true
			r.ExitStatus, r.Signal, r.Description = -1, "", unknownEnd
		default:
			r = r.updated()
			r.State, r.Start.URIs = messaging.Born, r.URIs
			r.Placement = Placement{Instance: r.Named(), Container: b.NewContainerID()}
		}
		s.Put(r)
		changed = append(changed, r)
	}
	return changed
}
