//go:build deacon_past

package initproto

// A PID 1 of the first version, for tests.
const (
	Version = 1
	Needs   = 0
)
