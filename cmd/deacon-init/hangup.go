package main

import (
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation/initproto"
)

const (
	// hangUpGrace lies between SIGHUP and SIGKILL.
	hangUpGrace = 2 * time.Second
	// hangUpEvery is how often it is looked who is left: a process that was
	// started meanwhile must not be missed.
	hangUpEvery = 100 * time.Millisecond
)

// farewells are the sessions that are being ended, whoever lives to see it.
type farewells struct {
	all  []farewell
	tick *time.Ticker
}

type farewell struct {
	session int // its first process's pid
	killAt  time.Time
}

// due is nil, and so never ready, while no session ends.
func (f *farewells) due() <-chan time.Time {
	if len(f.all) == 0 {
		return nil
	}
	return f.tick.C
}

// begin hangs a session up, unless that is under way.
func (f *farewells) begin(session int) {
	if slices.ContainsFunc(f.all, func(w farewell) bool { return w.session == session }) {
		return
	}
	// A stopped process is to hear it too.
	if signalSession(session, unix.SIGHUP, unix.SIGCONT) == 0 {
		return
	}
	if f.tick == nil {
		f.tick = time.NewTicker(hangUpEvery)
	} else if len(f.all) == 0 {
		f.tick.Reset(hangUpEvery)
	}
	f.all = append(f.all, farewell{session, time.Now().Add(hangUpGrace)})
}

// goOn kills who has had its time, and forgets a session of which nobody is left.
func (f *farewells) goOn(now time.Time) {
	f.all = slices.DeleteFunc(f.all, func(w farewell) bool {
		if now.Before(w.killAt) {
			return signalSession(w.session) == 0
		}
		return signalSession(w.session, unix.SIGKILL) == 0
	})
	if len(f.all) == 0 {
		f.tick.Stop()
	}
}

// signalSession signals every process of a session, whichever groups a shell made
// of them, and says how many there are. A session's number is given to nobody
// else for as long as one of them lives.
func signalSession(session int, signals ...unix.Signal) (members int) {
	proc, err := unix.Open("/proc", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(proc)
	buffer := make([]byte, 8<<10)
	var names []string
	for {
		n, err := unix.ReadDirent(proc, buffer)
		if n <= 0 || err != nil {
			return members
		}
		_, _, names = unix.ParseDirent(buffer[:n], -1, names[:0])
		for _, name := range names {
			if pid, err := strconv.Atoi(name); err == nil && signalMember(pid, session, signals) {
				members++
			}
		}
	}
}

// signalMember holds the process before it asks once more whose it is: a pid may
// be another's by now.
func signalMember(pid, session int, signals []unix.Signal) bool {
	if of, err := unix.Getsid(pid); err != nil || of != session {
		return false
	}
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(process)
	if of, err := unix.Getsid(pid); err != nil || of != session {
		return false
	}
	for _, sig := range signals {
		unix.PidfdSendSignal(process, sig, nil, 0)
	}
	return true
}

func (c *container) takeSignal(e event) error {
	request, err := initproto.DecodeSignal(e.message)
	if err != nil {
		return err
	}
	if j := c.session(request.Job); j != nil {
		unix.Kill(-j.pid, unix.Signal(request.Signal))
	}
	return nil
}

func (c *container) takeHangUp(e event) error {
	request, err := initproto.DecodeHangUp(e.message)
	if err != nil {
		return err
	}
	if j := c.session(request.Job); j != nil {
		c.farewells.begin(j.pid)
	}
	return nil
}

// session is one that runs.
func (c *container) session(number uint32) *job {
	for _, j := range c.jobs {
		if j.number == number && j.session {
			return j
		}
	}
	return nil
}

// hangUpAll ends the sessions of an agent that is gone: nobody reads what they
// write, and nobody else knows of them.
func (c *container) hangUpAll(a *agent) {
	for _, j := range c.jobs {
		if j.session && j.owner == a {
			c.farewells.begin(j.pid)
		}
	}
}
