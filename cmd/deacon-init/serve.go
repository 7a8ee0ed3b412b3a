package main

import (
	"os"
	"os/signal"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation/initproto"
	"github.com/deacon-agent/deacon/isolation/packet"
)

// eventsMax is how many events may wait for the main goroutine; who brings
// more waits.
const eventsMax = 16

// sendMax is how long an agent may take to read an answer before it is let go.
const sendMax = 2 * time.Second

// agent is one connection to init.sock.
type agent struct{ conn *packet.Conn }

// event is something for the main goroutine, which alone changes anything.
type event struct {
	from    *agent
	message []byte
	files   []*os.File
	closed  bool
}

// serve is PID 1's life after the set-up. It never returns: the container ends
// by SIGKILL from outside.
func (c *container) serve() {
	dead := make(chan os.Signal, 1)
	signal.Notify(dead, unix.SIGCHLD)
	c.reap() // whatever ended before the signal was listened to
	go c.accept()
	for {
		select {
		case <-dead:
			c.reap()
		case e := <-c.events:
			c.take(e)
		case <-c.stopping.tick():
		case <-c.bounds.written():
			c.bounds.soon()
		case <-c.bounds.due():
			c.bounds.look()
		case now := <-c.stacks.due():
			c.stacks.look(now)
		case now := <-c.farewells.due():
			c.farewells.goOn(now)
		}
		c.goOnStopping()
	}
}

// reap buries every process that ended, orphans included.
func (c *container) reap() {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if pid <= 0 || err != nil {
			return
		}
		c.died(pid, status)
	}
}

// died takes note of one process's end.
func (c *container) died(pid int, status unix.WaitStatus) {
	for i, j := range c.jobs {
		if j.pid == pid {
			c.jobs = slices.Delete(c.jobs, i, i+1)
			c.stacks.ended(pid)
			c.bury(j, status)
			return
		}
	}
	c.bounds.orphanDied()
}

// accept takes connections for ever; each gets a goroutine that reads.
func (c *container) accept() {
	raw, err := c.listener.SyscallConn()
	if err != nil {
		return
	}
	for {
		fd := -1
		var failed error
		err := raw.Read(func(l uintptr) bool {
			fd, _, failed = unix.Accept4(int(l), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
			return failed != unix.EAGAIN
		})
		if err != nil {
			return
		}
		if failed != nil {
			continue
		}
		if conn, err := packet.New(fd); err == nil {
			a := &agent{conn}
			c.events <- event{from: a} // greeted first, by the main goroutine
			go c.read(a)
		}
	}
}

func (c *container) read(a *agent) {
	for {
		message, files, err := a.conn.Receive()
		if err != nil {
			c.events <- event{from: a, closed: true}
			return
		}
		c.events <- event{from: a, message: message, files: files}
	}
}

// take does what one event asks. Whoever sends what is no message of the
// protocol loses the connection and nobody else anything.
func (c *container) take(e event) {
	if e.closed {
		c.drop(e.from)
		return
	}
	if e.message == nil {
		c.agents[e.from] = struct{}{}
		c.answer(e.from, c.hello().Encode())
		return
	}
	kind, err := initproto.KindOf(e.message)
	switch {
	case err == nil && kind == initproto.KindSpawn:
		err = c.takeSpawn(e)
	case err == nil && kind == initproto.KindStop:
		err = c.takeStop(e)
	case err == nil && kind == initproto.KindSignal:
		err = c.takeSignal(e)
	case err == nil && kind == initproto.KindHangUp:
		err = c.takeHangUp(e)
	default:
		err = initproto.ErrMalformed
	}
	if err != nil {
		closeAll(e.files)
		c.drop(e.from)
	}
}

func (c *container) takeSpawn(e event) error {
	request, err := initproto.DecodeSpawn(e.message)
	if err != nil {
		return err
	}
	started, failed := c.spawn(request.Job, e.files)
	if failed != nil {
		c.answer(e.from, failed.Encode())
		return nil
	}
	if j := c.session(started.Number); j != nil {
		j.owner = e.from // before it is answered: who doesn't read is let go
	}
	c.answer(e.from, started.Encode(initproto.KindSpawned))
	return nil
}

func (c *container) hello() initproto.Hello {
	h := initproto.Hello{Version: initproto.Version, Needs: initproto.Needs, ID: c.setup.ID, Epoch: c.setup.Epoch}
	for _, j := range c.jobs {
		if !j.session {
			h.Jobs = append(h.Jobs, initproto.JobState{Number: j.number, PID: uint32(j.pid)})
		}
	}
	for _, exit := range c.ended {
		h.Jobs = append(h.Jobs, initproto.JobState{Number: exit.Job, Exit: &exit})
	}
	return h
}

// answer sends to one agent; one that doesn't read is let go.
func (c *container) answer(a *agent, message []byte) {
	a.conn.SetDeadline(time.Now().Add(sendMax))
	err := a.conn.Send(message)
	a.conn.SetDeadline(time.Time{})
	if err != nil {
		c.drop(a)
	}
}

// tell sends to every agent.
func (c *container) tell(message []byte) {
	for a := range c.agents {
		c.answer(a, message)
	}
}

func (c *container) drop(a *agent) {
	delete(c.agents, a)
	a.conn.Close()
	c.hangUpAll(a)
}
