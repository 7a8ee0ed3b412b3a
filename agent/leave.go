package agent

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/messaging"
)

// serve runs until a signal, the context or a failure ends it.
func (a *agent) serve(ctx context.Context) error {
	a.log.Info("node ready", "id", a.node.ID, "address", a.node.Address, "state", a.state.path,
		"instances", len(a.store.All()))
	if a.watch != nil {
		a.watch.isReady()
	}
	if a.options.Ready != nil {
		a.options.Ready(Ready{NodeID: a.node.ID, State: a.state.path})
	}
	for {
		select {
		case <-ctx.Done():
			return a.detach()
		case err := <-a.tree.Failed():
			return fmt.Errorf("agent: the tree was given up: %w", err)
		case <-a.tree.Evacuated():
			return a.shutdown(ctx)
		case sig := <-a.options.Signals:
			switch a.meaning(sig) {
			case Detach:
				return a.detach()
			case Shutdown:
				return a.shutdown(ctx)
			case Evacuate:
				a.tree.Deliver(messaging.EvacuateNode{})
			case hide:
				a.log.Info("the node offers nothing any more; what it runs runs on")
				a.tree.Hide()
			default:
				a.log.Warn("a signal without a meaning is ignored", "signal", sig)
			}
		}
	}
}

// hide is what SIGUSR1 does: goodbye, and no offers from now on (wire/dea.md b.7).
const hide OnTerm = "hide"

// meaning is what a signal asks for; empty: nothing.
func (a *agent) meaning(sig os.Signal) OnTerm {
	switch sig {
	case unix.SIGTERM:
		return a.config.Node.OnTerm
	case unix.SIGUSR2:
		return a.config.Node.OnUSR2
	case unix.SIGUSR1:
		return hide
	case unix.SIGINT, unix.SIGQUIT:
		return Shutdown
	}
	return ""
}

// leaving says that no command is taken any more.
func (a *agent) leaving() {
	if a.watch != nil {
		a.watch.notReady(errLeaving)
	}
}

// detach leaves every application to the next agent. No goodbye is said:
// nothing has changed for anybody.
func (a *agent) detach() error {
	a.log.Info("detaching: applications run on")
	a.leaving()
	a.drain()
	a.bus.StopListening()
	return nil
}

// shutdown stops every application and gives everything back, within the time
// that the configuration allows; a second signal ends the wait.
func (a *agent) shutdown(ctx context.Context) error {
	a.log.Info("shutting down: stopping every application", "limit", a.config.Node.ShutdownTimeout)
	a.leaving()
	ctx, cancel := context.WithTimeout(ctx, a.config.Node.ShutdownTimeout)
	defer cancel()
	go func() {
		select {
		case <-a.options.Signals:
			cancel()
		case <-ctx.Done():
		}
	}()
	err := a.tree.Shutdown(ctx)
	a.bus.StopListening()
	if err != nil {
		return fmt.Errorf("agent: %w; start the agent again to take care of what is left", err)
	}
	a.empty = true
	a.log.Info("nothing runs any more")
	return nil
}
