//go:build deacon_future && !deacon_past

package initproto

// A PID 1 that no agent of today can do anything with, for tests.
const (
	Version = 99
	Needs   = 99
)
