package messaging

import "time"

// From is a command that acts, and what is known of who asked for it.
type From struct {
	Command Command
	Asker   Asker
}

// Asker is as much as NATS tells of a sender.
type Asker struct {
	Subject string // what was asked on
	Reply   string // where it wanted an answer; empty: nowhere
	// Account is the server's own word, where it is told to pass it on ("share"
	// of a service import); By is what the sender calls itself, which nobody checks.
	Account string
	By      string
}

// Asked is deacon's own account of a command that the node accepted.
type Asked struct {
	NodeID      string
	Asker       Asker
	Application string // empty: the whole node
	Index       int    // -1: several, or all
	Instances   int    // that it concerns
	At          time.Time
}

func (From) command() {}
func (Asked) event()  {}
