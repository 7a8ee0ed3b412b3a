package main

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation/initproto"
	"github.com/deacon-agent/deacon/isolation/packet"
)

const gateDescriptor = 3

// backlog is how many agents may connect at once; one is usual.
const backlog = 8

// pid1 waits at the gate, finishes the container and serves it for the rest of
// its life.
func pid1() {
	// Nobody inside may look into this process, not even the container's root.
	unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	gate, err := packet.New(gateDescriptor)
	if err != nil {
		os.Exit(1)
	}
	// Taken and dropped rather than ignored: what is ignored stays so in a job,
	// and so would what the agent was started with (nohup ignores SIGHUP).
	signal.Notify(make(chan os.Signal, 1), unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGPIPE)
	populate()
	message, files, err := gate.Receive()
	if err != nil {
		os.Exit(0) // end of file: the agent died before it had anything to lose
	}
	c, failed := enter(message, files)
	if failed != nil {
		gate.Send(failed.Encode())
		os.Exit(1)
	}
	var started initproto.Started
	if c.setup.Job != nil {
		if started, failed = c.spawn(*c.setup.Job, c.jobFiles); failed != nil {
			gate.Send(failed.Encode())
			os.Exit(1)
		}
	}
	// From here on agents may connect, and are told that it is this process.
	if err := listen(c.listener); err != nil {
		failed := initproto.Failed{Step: "listen", Text: err.Error()}
		gate.Send(failed.Encode())
		os.Exit(1)
	}
	gate.Send(started.Encode(initproto.KindSetupDone))
	gate.Close()
	c.serve()
}

// listen leaves the descriptor non-blocking, which File.Fd would not.
func listen(socket *os.File) error {
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	controlled := raw.Control(func(fd uintptr) { err = unix.Listen(int(fd), backlog) })
	if controlled != nil {
		return controlled
	}
	return err
}

// container is everything that PID 1 knows.
type container struct {
	setup     initproto.Setup
	root      *os.File         // given; attached and closed by enter
	dev       *os.File         // given; attached and closed by enter
	listener  *os.File         // init.sock
	oom       *os.File         // where the kernel counts the jobs' oom kills
	joins     []*os.File       // the jobs' cgroups
	binds     []*os.File       // given; attached and closed by enter
	jobFiles  []*os.File       // the first job's
	jobs      []*job           // that run
	ended     []initproto.Exit // of those that ran, the last
	stopping  *stopping
	events    chan event
	bounds    *bounds
	stacks    hardening
	farewells farewells
	agents    map[*agent]struct{}
}

// take sorts the descriptors of a set-up message; their order is initproto's.
func take(message []byte, files []*os.File) (*container, bool) {
	setup, err := initproto.DecodeSetup(message)
	if err != nil {
		return nil, false
	}
	wanted := 4 + len(setup.Binds) + int(setup.Joins)
	if setup.Job != nil {
		wanted += initproto.SpawnDescriptors
	}
	if len(files) != wanted {
		return nil, false
	}
	next := func(n int) []*os.File {
		taken := files[:n:n]
		files = files[n:]
		return taken
	}
	c := &container{setup: setup, agents: map[*agent]struct{}{}, events: make(chan event, eventsMax)}
	fixed := next(4)
	c.root, c.dev, c.listener, c.oom = fixed[0], fixed[1], fixed[2], fixed[3]
	c.binds = next(len(setup.Binds))
	c.joins = next(int(setup.Joins))
	c.jobFiles = files
	return c, true
}
