package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// How late a timer may be, so that several can fire at once.
const (
	// initSlack is PID 1's. The runtime's own watchman looks round every 20 µs
	// while anything happens, and at each look takes the processor away from
	// whoever is in a system call: that was a twelfth of what 100 starts at once
	// cost. PID 1 has no timer for which 10 ms matter.
	initSlack = 10 * time.Millisecond
	// jobSlack is the kernel's own default.
	jobSlack = 50 * time.Microsecond
)

// setSlack sets the calling thread's timer slack. A new thread or process
// begins with that of the thread that made it.
func setSlack(slack time.Duration) {
	unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(slack), 0, 0, 0)
}
