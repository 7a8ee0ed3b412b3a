package main

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation/initproto"
)

// signalEvery is the pause between two rounds of signals: a process that was
// started between them must not be missed.
const signalEvery = time.Second

// stopping is an order to end every job, under way. It belongs to PID 1, so it
// is carried out whether or not the agent that gave it lives.
type stopping struct {
	killAt  time.Time
	timer   *time.Ticker
	waiting []*agent
	last    time.Time // of the last round
}

// tick is nil, and so never ready, while nothing is being stopped.
func (s *stopping) tick() <-chan time.Time {
	if s == nil {
		return nil
	}
	return s.timer.C
}

func (c *container) takeStop(e event) error {
	request, err := initproto.DecodeStop(e.message)
	if err != nil {
		return err
	}
	killAt := time.Now().Add(time.Duration(request.GraceMillis) * time.Millisecond)
	if c.stopping == nil {
		c.stopping = &stopping{killAt: killAt, timer: time.NewTicker(tickOf(request.GraceMillis))}
	}
	// A second order may shorten the grace, never lengthen it.
	if killAt.Before(c.stopping.killAt) {
		c.stopping.killAt = killAt
	}
	c.stopping.waiting = append(c.stopping.waiting, e.from)
	return nil
}

// tickOf is how often a stop looks at the clock: often enough for a grace that
// is shorter than a round.
func tickOf(graceMillis uint64) time.Duration {
	return min(signalEvery, max(10*time.Millisecond, time.Duration(graceMillis)*time.Millisecond/4))
}

// goOnStopping signals whoever is left and ends the stop when nobody is. It is
// called after every event, because the end of a process is one.
func (c *container) goOnStopping() {
	s := c.stopping
	if s == nil {
		return
	}
	now := time.Now()
	sig := unix.SIGTERM
	due := now.Sub(s.last) >= signalEvery
	if !now.Before(s.killAt) {
		sig, due = unix.SIGKILL, true
	}
	if !due {
		sig = 0 // only asks whether anybody is left
	}
	if unix.Kill(-1, sig) != unix.ESRCH {
		if due {
			s.last = now
		}
		return
	}
	s.timer.Stop()
	c.stopping = nil
	for _, a := range s.waiting {
		c.answer(a, initproto.Stopped())
	}
}
