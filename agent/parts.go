package agent

import (
	"fmt"
	"os"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/disk"
	"github.com/deacon-agent/deacon/isolation/network"
	"github.com/deacon-agent/deacon/isolation/rootfs"
	"github.com/deacon-agent/deacon/messaging/bus"
)

// The configuration in the words of the parts that it is for.

func networkConfig(n Network) network.Config {
	return network.Config{
		Denied: n.Denied, Allowed: n.Allowed, HostAccess: n.HostAccess, Resolvers: n.DNS, Egress: n.Egress,
		Loopback: n.Loopback, MTU: n.MTU,
	}
}

func diskConfig(d Disk) disk.Config { return disk.Config{Driver: d.Driver, PoolBytes: d.PoolBytes} }

// BusConfig is how the configuration has NATS reached.
func BusConfig(n NATS, nodeID string, log hclog.Logger) (bus.Config, error) {
	password, err := n.ReadPassword()
	if err != nil {
		return bus.Config{}, fmt.Errorf("agent: nats.password_file: %w", err)
	}
	return bus.Config{
		Servers: n.Servers, Name: "deacon " + nodeID, NodeID: nodeID, Version: Version,
		User: n.User, Password: password, Token: n.Token, NkeySeedFile: n.NkeyFile, CredsFile: n.CredsFile,
		TLS: bus.TLS{CA: n.TLS.CA, Cert: n.TLS.Cert, Key: n.TLS.Key}, Log: log,
	}, nil
}

// prepareStacks makes what a stack needs on this machine: the generated one
// its layer and the machine's /usr over it, unshifted, so that what only the
// machine's root may read stays unreadable inside.
func prepareStacks(c Config, state string) ([]StackRoot, error) {
	var roots []StackRoot
	for _, s := range c.Stacks {
		if s.Path != "" {
			roots = append(roots, StackRoot{Name: s.Name, Layers: []string{s.Path}})
			continue
		}
		layer, err := rootfs.HostStack(stacksFolder(state), c.Network.DNS)
		if err != nil {
			return nil, fmt.Errorf("agent: %w", err)
		}
		roots = append(roots, StackRoot{
			Name: s.Name, Layers: []string{layer},
			Binds: []isolation.Bind{{Source: "/usr", Target: "/usr", ReadOnly: true}},
		})
	}
	return roots, nil
}

func stackNames(stacks []Stack) []string {
	var names []string
	for _, s := range stacks {
		names = append(names, s.Name)
	}
	return names
}

// readBootID names this boot of the machine; containers don't outlive it.
func readBootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("agent: learn the boot id: %w", err)
	}
	return strings.TrimSpace(string(id)), nil
}
