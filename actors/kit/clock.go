package kit

import "time"

// Clock is where time comes from.
type Clock interface {
	Now() time.Time
	// AfterFunc calls f in d, on a goroutine of the clock's choice; stop says
	// whether it came in time to prevent that.
	AfterFunc(d time.Duration, f func()) (stop func() bool)
}

// RealClock is the machine's.
func RealClock() Clock { return realClock{} }

type realClock struct{}

func (realClock) Now() time.Time { return time.Now() }

func (realClock) AfterFunc(d time.Duration, f func()) func() bool {
	return time.AfterFunc(d, f).Stop
}
