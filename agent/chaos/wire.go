package chaos

import (
	"fmt"
)

// What is asked of a node's Service, each on a subject of its own
// (messaging/dea.ChaosSubject).
const (
	VerbList   = "list"   // {} → Listing
	VerbInject = "inject" // Order → Injected
	VerbHeal   = "heal"   // Healing → Healed
	VerbAudit  = "audit"  // {} → Audit
)

// Verbs are all of them.
var Verbs = []string{VerbList, VerbInject, VerbHeal, VerbAudit}

// Codes of refusals. They are a contract with programs.
const (
	CodeNotAllowed  = "not-allowed" // the node's configuration doesn't allow chaos
	CodeMalformed   = "malformed"   // the request can't be read
	CodeUnknown     = "unknown"     // there is no such fault
	CodeUnavailable = "unavailable" // it can't be done to this node
	CodeFailed      = "failed"      // it could be done, and failed
)

// RefusedError is a node's no.
type RefusedError struct {
	Reason string // one of the codes
	Text   string
}

func (e *RefusedError) Error() string { return e.Text }

// Code is what programs tell refusals apart by.
func (e *RefusedError) Code() string { return e.Reason }

func refuse(code, format string, args ...any) error {
	return &RefusedError{code, fmt.Sprintf(format, args...)}
}

// Listing is what can be done to a node.
type Listing struct {
	Node   string  `json:"node"`
	Boot   string  `json:"boot"` // of the machine, to know whether it is the same one
	PID    int     `json:"pid"`  // of the agent
	PIDs   string  `json:"pids"` // the namespace that the pid is one of
	State  string  `json:"state"`
	Faults []Offer `json:"faults"`
}

// Offer is one fault of a Listing.
type Offer struct {
	Name      string `json:"name"`
	Does      string `json:"does"`
	Heals     string `json:"heals"`
	Harms     Harm   `json:"harms"`
	For       Span   `json:"for"`
	Available bool   `json:"available"`
	Why       string `json:"why,omitempty"` // it isn't
}

// Injected says that a fault was done, or is being done right after this.
type Injected struct {
	ID   string `json:"id"`
	Note string `json:"note,omitempty"`
	For  Span   `json:"for"` // until the node heals it itself; 0: there is nothing to heal
	Victim
}

// Healing asks for the end of an injection before its time.
type Healing struct {
	ID string `json:"id,omitempty"` // empty: of all
}

// Healed says what was taken back.
type Healed struct {
	IDs    []string `json:"ids"`
	Errors []string `json:"errors"`
}
