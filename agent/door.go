package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/agent/legacy"
	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/socket"
)

// drainMax is how long clients' requests may go on once the agent was told to
// detach: the longest that one takes is a stop, and what comes of it.
const drainMax = 30 * time.Second

// wardenOptions is what the tree needs to serve Warden's clients. It is there
// without a door too: what clients made before the door was taken out of the
// configuration lives for its grace time, and a shutdown finds it.
func (a *agent) wardenOptions(o *actors.Options, stacks []StackRoot) error {
	w := a.config.Warden
	if w == nil {
		missing := DefaultWarden()
		missing.Rootfs = a.config.Stacks[0]
		w = &missing
	}
	root, err := wardenRootfs(w.Rootfs, stacks)
	if err != nil {
		return err
	}
	o.Live = live{a.box, a.log.Named("warden")}
	log := &machineLog{socket: w.SyslogSocket}
	a.defers("the machine's log", log.Close)
	o.Transcripts = transcripts{a.outputs.follower, a.box.JobFolder, log}
	o.Clients = clients{a.door.Load}
	o.Designer = NewDesigner(DesignerConfig{Warden: *w, Plan: a.plan(), Rootfs: root, DNS: a.config.Network.DNS})
	return nil
}

// wardenRootfs is a stack of the node's, or a folder that has no name.
func wardenRootfs(s Stack, stacks []StackRoot) (StackRoot, error) {
	if s.Name == "" {
		return StackRoot{Layers: []string{s.Path}}, nil
	}
	for _, root := range stacks {
		if root.Name == s.Name {
			return root, nil
		}
	}
	return StackRoot{}, fmt.Errorf("agent: warden.rootfs: there is no stack %q", s.Name)
}

// openDoor lets Warden's clients in, once what a former agent left is known.
func (a *agent) openDoor() error {
	w := a.config.Warden
	if w == nil {
		return nil
	}
	known := make(chan struct{}) // clients may come before we know whom to answer by
	door, err := socket.Open(socket.Config{
		Path: w.Socket, Mode: w.Mode, Group: w.Group, Log: a.log.Named("warden"),
	}, func(c messaging.Command) {
		<-known
		a.tree.Deliver(c)
	})
	if err != nil {
		return fmt.Errorf("agent: open Warden's door: %w", err)
	}
	a.door.Store(door)
	close(known)
	a.defers("Warden's door", door.Close)
	a.log.Info("Warden's clients are served", "socket", w.Socket)
	return a.oldHabits(w)
}

// oldHabits are what scripts around the original look at.
func (a *agent) oldHabits(w *Warden) error {
	if w.PIDFile != "" {
		file, err := legacy.WritePIDFile(w.PIDFile)
		if err != nil {
			return fmt.Errorf("agent: warden.pid_file: %w", err)
		}
		a.defers("the pid file", file.Remove)
	}
	if w.HealthCheck.IsValid() {
		check, err := legacy.StartHealthCheck(w.HealthCheck)
		if err != nil {
			return fmt.Errorf("agent: warden.health_check: %w", err)
		}
		a.defers("the health check", check.Close)
	}
	return nil
}

// drain answers what is under way and lets the clients go; containers stay.
func (a *agent) drain() {
	door := a.door.Load()
	if door == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainMax)
	defer cancel()
	if err := door.Drain(ctx); err != nil {
		a.log.Warn("some of Warden's clients were not answered", "reason", err)
	}
}
