package agent

import (
	"time"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/messaging"
)

// startOver has every instance of an earlier boot of the machine begin anew, or
// be told of as crashed, as the configuration says: of its container only the
// folder is left.
func (a *agent) startOver(bootID string) {
	for _, r := range a.store.All() {
		if r.BootID == bootID || r.State == messaging.Crashed {
			continue
		}
		r.BootID = bootID
		ran := r.State == messaging.Starting || r.State == messaging.Running
		if ran && a.config.Node.OnReboot == Report {
			a.store.Put(lostByReboot(r, time.Now()))
			a.log.Warn("the machine was restarted; an instance is told of as crashed (node.on_reboot)",
				"application", r.Start.Application, "index", r.Start.Index, "instance", r.Instance)
			continue
		}
		if ran {
			r.State = messaging.Born
		}
		// What the former container left goes as an orphan does.
		r.Placement = actors.Placement{Instance: r.Instance, Container: newContainerID()}
		a.log.Info("the machine was restarted; an instance begins anew", "application", r.Start.Application,
			"index", r.Start.Index, "instance", r.Instance)
		a.store.Put(r)
	}
}

// lostByReboot is an instance that nobody saw end, in the wire's words for that.
// Its container is its own to be given back.
func lostByReboot(r actors.Record, at time.Time) actors.Record {
	r.State, r.Since, r.Untold = messaging.Crashed, at, true
	r.ExitStatus, r.Signal, r.Description = -1, "", "unknown"
	return r
}
