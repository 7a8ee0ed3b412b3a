package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/messaging"
)

// startOver has every instance of an earlier boot of the machine begin anew, or be
// told of as crashed, as the configuration says. What it changes is on disk before
// anything is started.
func (a *agent) startOver(ctx context.Context, bootID string) error {
	changed := actors.Boot{
		ID: bootID, Report: a.config.Node.OnReboot == Report, At: time.Now(), NewContainerID: newContainerID,
	}.StartOver(a.store)
	if len(changed) == 0 {
		return nil
	}
	for _, r := range changed {
		facts := []any{"application", r.Start.Application, "index", r.Start.Index, "instance", r.Instance}
		if r.State == messaging.Born {
			a.log.Info("the machine was restarted; an instance begins anew", facts...)
		} else if r.State != messaging.Stopping && r.State != messaging.Stopped {
			a.log.Warn("the machine was restarted; an instance is told of as crashed (node.on_reboot)", facts...)
		}
	}
	if err := a.store.Flush(ctx); err != nil {
		return fmt.Errorf("agent: keep what is to be started after a restart of the machine: %w", err)
	}
	return nil
}
