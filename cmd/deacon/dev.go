package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/agent"
	"github.com/deacon-agent/deacon/cmd/deacon/devnats"
)

// The dev node keeps out of the way of an installed one on the same machine:
// it has addresses, ports and user ids of its own.
const (
	devUIDBase   = 2_000_000_000
	devPortFirst = 31000
	devPortLast  = 31999
)

var devPool = netip.MustParsePrefix("10.253.240.0/20")

// devAdvertise is short because a person waits for the first offer of room.
const devAdvertise = time.Second

// devFolderPrefix begins the names of throw-away folders.
const devFolderPrefix = "deacon-dev-"

type devOptions struct {
	natsPort int
	config   string
	take     string
	warden   string
}

func newDev(s *session) *cobra.Command {
	var o devOptions
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a node for trying things out: NATS inside, nothing left behind",
		Long: `Run a node for trying things out. A NATS server on loopback is inside, the state
folder is a throw-away one, and applications run on this machine's own /usr, so
nothing has to be installed or downloaded. Ctrl-C stops every application and
removes all of it.

NATS listens on port 4222, where every other command of deacon looks first; if
that is taken it takes another port and says which. A dev node and an installed
node can run side by side.

With --warden it listens on a unix socket for clients of Warden's as well, among
them "deacon warden". Only root can connect, unless the configuration says else.

It needs root.`,
		Example: exampleText("sudo deacon dev", "sudo deacon dev --nats-port 4333",
			"sudo deacon dev --warden /tmp/warden.sock"),
		GroupID: groupNode,
		Args:    arguments(0, 0),
		RunE:    func(cmd *cobra.Command, _ []string) error { return s.dev(cmd.Context(), o) },
	}
	flags := cmd.Flags()
	flags.IntVar(&o.natsPort, "nats-port", 0, "port for NATS; 0: 4222, or another if that is taken")
	flags.StringVarP(&o.config, "config", "c", "", "configuration to start from; its nats and node.state are not used")
	flags.StringVar(&o.take, "take", "", "take over the folder of a deacon dev that was killed; Ctrl-C clears it up")
	flags.StringVar(&o.warden, "warden", "",
		"path of a socket to make for Warden's clients; left out: the configuration's, or none")
	return cmd
}

func (s *session) dev(ctx context.Context, o devOptions) (err error) {
	config, err := s.devConfig(o)
	if err != nil {
		return err
	}
	if err := needRoot("deacon dev"); err != nil {
		return err
	}
	if o.natsPort < 0 || o.natsPort > 65535 {
		return fail(exitUsage, "", "--nats-port %d is no port", o.natsPort)
	}
	alone, err := onlyDev(devFolderPrefix + "alone")
	if err != nil {
		return err
	}
	defer alone.Close()
	for _, left := range abandoned(os.TempDir()) {
		if left != o.take {
			s.note("A deacon dev that was killed left %s; deacon dev --take %[1]s takes it over, "+
				"and Ctrl-C then clears it up.", left)
		}
	}
	folder, err := devFolder(o.take)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, discard(folder)) }()
	if o.take != "" && config.Warden == nil { // only behind that door its clients' containers are cleared up
		serveWarden(&config, filepath.Join(folder, "warden.sock"))
	}
	server, err := devnats.Start(o.natsPort)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fail(exitFailed, "leave --nats-port out to have a free one chosen", "NATS can't listen: %w", err)
	}
	if err != nil {
		return err
	}
	defer server.Stop()
	config.Node.State = filepath.Join(folder, "state")
	config.NATS = agent.NATS{Servers: []string{server.URL()}}
	signals, stop := devSignals()
	defer stop()
	return agent.Run(context.WithoutCancel(ctx), config, agent.Options{
		Log: agent.NewLog(config.Log, os.Stderr), Signals: signals,
		Ready: func(r agent.Ready) { s.greet(r, server.URL(), folder, config.Warden) },
	})
}

func (s *session) devConfig(o devOptions) (agent.Config, error) {
	config := agent.DefaultConfig()
	config.Node.UIDBase = devUIDBase
	config.Network.Pool = devPool
	config.Network.PortFirst, config.Network.PortLast = devPortFirst, devPortLast
	config.Intervals.Advertise = devAdvertise
	if o.config != "" {
		var err error
		if config, err = s.loadConfig(o.config); err != nil {
			return config, err
		}
	}
	config.Node.OnTerm = agent.Shutdown
	if o.warden == "" {
		return config, nil
	}
	socket, err := filepath.Abs(o.warden)
	if err != nil {
		return config, err
	}
	serveWarden(&config, socket)
	return config, nil
}

// serveWarden has the node listen for Warden's clients, as configured but for the path.
func serveWarden(config *agent.Config, socket string) {
	if config.Warden == nil {
		w := agent.DefaultWarden()
		w.Rootfs = config.Stacks[0]
		config.Warden = &w
	}
	config.Warden.Socket = socket
}

// devSignals gives the agent what ends a dev node: a closed terminal ends it
// as Ctrl-C does.
func devSignals() (<-chan os.Signal, func()) {
	raw := make(chan os.Signal, signalsMax)
	signals := make(chan os.Signal, signalsMax)
	signal.Notify(raw, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP)
	go func() {
		for sig := range raw {
			if sig == syscall.SIGHUP {
				sig = syscall.SIGTERM
			}
			signals <- sig
		}
	}()
	return signals, func() {
		signal.Stop(raw)
		close(raw)
	}
}

// onlyDev makes sure that no other dev node uses the same addresses and ports.
// An abstract socket is seen just where these would collide, in one network
// namespace, and is gone with its process.
func onlyDev(name string) (net.Listener, error) {
	alone, err := net.Listen("unix", "@"+name)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fail(exitFailed, "use that one (deacon ps), or end it first with Ctrl-C where it runs",
			"another deacon dev runs on this machine already")
	}
	return alone, err
}

// devFolder makes a throw-away folder, or returns the one to take over.
func devFolder(take string) (string, error) {
	if take == "" {
		return os.MkdirTemp("", devFolderPrefix)
	}
	folder, err := filepath.Abs(take)
	if err != nil {
		return "", err
	}
	// It is removed at the end, so it must be what it is said to be.
	if match, _ := filepath.Match(devFolderPrefix+"*", filepath.Base(folder)); !match {
		return "", fail(exitUsage, "", "--take %s: a deacon dev calls its folder %s…", take, devFolderPrefix)
	}
	if _, err := os.Stat(filepath.Join(folder, "state")); err != nil {
		return "", fail(exitNotFound, "", "--take %s: there is no state of a deacon dev: %w", take, err)
	}
	return folder, nil
}

// abandoned lists the folders in temp that dead dev nodes left: those whose
// state no agent holds the lock of.
func abandoned(temp string) []string {
	locks, _ := filepath.Glob(filepath.Join(temp, devFolderPrefix+"*", "state", "lock"))
	var folders []string
	for _, name := range locks {
		lock, err := os.Open(name)
		if err != nil {
			continue // its owner has just removed it
		}
		if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			folders = append(folders, filepath.Dir(filepath.Dir(name)))
		}
		lock.Close() // gives the lock back
	}
	return folders
}

// discard removes the folder, unless containers are left that only a node on
// this folder can take back.
func discard(folder string) error {
	left, _ := filepath.Glob(filepath.Join(folder, "state", "containers", "*"))
	if len(left) > 0 {
		return fail(exitFailed, "run deacon dev --take "+folder+" and end it with Ctrl-C",
			"%d containers could not be removed; their records are kept in %s", len(left), folder)
	}
	return os.RemoveAll(folder)
}

// greet says where the node is and what can be typed next.
func (s *session) greet(r agent.Ready, url, folder string, w *agent.Warden) {
	socket := ""
	if w != nil {
		socket = w.Socket
	}
	if s.json {
		json.NewEncoder(s.out).Encode(struct {
			Node   string `json:"node"`
			NATS   string `json:"nats"`
			Folder string `json:"folder"`
			Warden string `json:"warden,omitempty"`
		}{r.NodeID, url, folder, socket})
		return
	}
	self := os.Args[0]
	fmt.Fprintf(s.out, "\nThe node %s is ready; NATS listens on %s\n\nIn another terminal, try:\n", r.NodeID, url)
	if url != defaultNATS {
		fmt.Fprintf(s.out, "    export %s=%s\n", natsEnv, url)
	}
	fmt.Fprintf(s.out, "    %s run -- python3 -m http.server '$PORT'\n    %s ps\n", self, self)
	if socket != "" {
		fmt.Fprintf(s.out, "    %s\n", wardenLine(self, socket, w.Mode))
	}
	fmt.Fprintln(s.out, "\nCtrl-C stops every application and leaves nothing behind.")
}

// wardenLine is how the shell is started that uses the socket.
func wardenLine(self, socket string, mode fs.FileMode) string {
	line := self + " warden"
	if socket != defaultWarden {
		line += " --socket " + quoteWord(socket)
	}
	if mode&0o002 == 0 {
		line = "sudo " + line
	}
	return line
}
