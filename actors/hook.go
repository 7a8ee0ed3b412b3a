package actors

import (
	"fmt"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
)

// Moment is when in an application's life a hook of the node's operator runs
// (wire/dea.md b.2, b.3).
type Moment uint8

const (
	BeforeStart Moment = iota + 1 // in the container, before the application's own job
	AfterStart                    // the instance runs
	BeforeStop                    // a stop was ordered, nothing is signalled yet
	AfterStop                     // no job runs any more, the container is still there
)

// Moments are all of them, in the order of a life.
var Moments = []Moment{BeforeStart, AfterStart, BeforeStop, AfterStop}

func (m Moment) String() string {
	return [...]string{"", "before_start", "after_start", "before_stop", "after_stop"}[m]
}

// job is the number that the moment's hook has in its container, behind the
// application's own. PID 1 starts a number once and remembers how it ended, so a
// hook runs once whoever was killed over it, and whoever comes next can ask.
func (m Moment) job() uint32 { return applicationJob + uint32(m) }

// applicationJob is the number of the application's own job.
const applicationJob = 1

// hooks are the jobs of moments. nil: there is none, which is so on most nodes.
type hooks map[Moment]isolation.Job

// hooked are the hooks of an application for some moments.
func (w *world) hooked(p Placement, start messaging.StartInstance, moments ...Moment) (hooks, error) {
	var found hooks
	for _, m := range moments {
		job, err := w.Planner.Hook(m, p, start)
		if err != nil {
			return nil, fmt.Errorf("the hook %s: %w", m, err)
		}
		if job == nil {
			continue
		}
		if found == nil {
			found = hooks{}
		}
		job.Number = m.job()
		found[m] = *job
	}
	return found, nil
}
