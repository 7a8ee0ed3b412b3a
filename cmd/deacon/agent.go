package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/deacon-agent/deacon/agent"
)

// configDefault is where an installed node has its configuration.
const configDefault = "/etc/deacon/config.hcl"

// signalsMax is how many signals may wait while the agent is busy; further
// ones of the same kind would say nothing new.
const signalsMax = 16

func newAgent(s *session) *cobra.Command {
	var file string
	var down bool
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Run this machine as a node",
		Long: `Run this machine as a node: take commands from NATS, run applications in
containers, report on them. It stays in the foreground; let systemd keep it.

Signals: TERM leaves the applications running and ends, so that the next agent
takes them over (node.on_term can be "shutdown" or "evacuate" instead). INT and
QUIT stop every application, then end. USR2 evacuates: the applications run on
until others have started them elsewhere, then the agent ends (node.on_usr2 can
be "detach"). USR1 has the node offer nothing any more.
The agent may be killed at any moment: the applications run on, and the next
agent on the same state folder adopts them.

With --shutdown it takes over what a former agent left, stops all of it, gives
everything back to the kernel, and ends: for whoever takes deacon off a machine.

It needs root.`,
		Example: exampleText("deacon agent", "deacon agent -c ./config.hcl"),
		GroupID: groupNode,
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			config, err := s.loadConfig(file)
			if err != nil {
				return err
			}
			if err := needRoot("deacon agent"); err != nil {
				return err
			}
			log, closeLog, err := agent.OpenLog(config.Log, os.Stderr)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, closeLog()) }()
			signals, stop := forwardSignals()
			defer stop()
			if down {
				signals <- syscall.SIGINT // is heard once the node is there
			}
			// The agent alone decides what a signal means to it, so the
			// context that ends at the first one is not for it.
			ctx := context.WithoutCancel(cmd.Context())
			return agent.Run(ctx, config, agent.Options{
				Log: log, Signals: signals, Ready: tellSystemd(log),
			})
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", configDefault, "configuration file")
	toggle(cmd.Flags(), &down, "shutdown", "", "stop what a former agent left running, and end")
	return cmd
}

// tellSystemd says that the node takes commands, where systemd waits for that.
func tellSystemd(log hclog.Logger) func(agent.Ready) {
	return func(agent.Ready) {
		if _, err := daemon.SdNotify(true, daemon.SdNotifyReady); err != nil {
			log.Warn("systemd can't be told that the node is ready", "error", err)
		}
	}
}

// forwardSignals hands over everything that the agent has a meaning for.
func forwardSignals() (chan os.Signal, func()) {
	signals := make(chan os.Signal, signalsMax)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	return signals, func() { signal.Stop(signals) }
}

func needRoot(what string) error {
	if os.Geteuid() == 0 {
		return nil
	}
	return fail(exitFailed, "run it as root, with sudo for instance",
		"%s needs root: it makes namespaces, cgroups and mounts", what)
}
