package actors

import (
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
)

// instanceMessage is everything that an instance is told.
//
//sumtype:decl
type instanceMessage interface{ instance() }

type (
	granted struct{ placement Placement }
	denied  struct{ words string }
	// dropletReady and dropletFailed answer need.
	dropletReady  struct{ droplet Droplet }
	dropletFailed struct{ err error }
	// told is a fact about the instance's container.
	told struct{ fact containerFact }
	// vanished says that the container's actor is gone, whatever became of the container.
	vanished struct{}
	// stop is the controller's order.
	stop struct{}
	// describe asks for one InstanceFound, status for one InstanceDescribed.
	describe   struct{ find messaging.FindInstances }
	status     struct{ replyTo string }
	restricted struct { // what became of restrict
		rules []messaging.EgressRule
		err   error
	}
	measured struct {
		answer func(*messaging.InstanceStats) messaging.Event
		usage  isolation.Usage
		err    error
	}
	// nudge repeats what the instance waits for: requests are safe to repeat,
	// and whoever was to answer may have been restarted meanwhile.
	nudge struct{}
	// announce asks a running instance to register its routes again.
	announce struct{}
	// harmed says what somebody else took from a container that could not be kept
	// without it.
	harmed struct{ container, what string }
	// update has one hold that is on disk, evacuate the order to leave.
	update   struct{ update *Update }
	evacuate struct{}
	// speak says that the record is on disk, and the instance may be told of.
	speak struct{}
)

func (granted) instance()       {}
func (denied) instance()        {}
func (dropletReady) instance()  {}
func (dropletFailed) instance() {}
func (told) instance()          {}
func (vanished) instance()      {}
func (stop) instance()          {}
func (describe) instance()      {}
func (status) instance()        {}
func (measured) instance()      {}
func (restricted) instance()    {}
func (nudge) instance()         {}
func (announce) instance()      {}
func (update) instance()        {}
func (evacuate) instance()      {}
func (speak) instance()         {}
func (harmed) instance()        {}
