package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation/network"
	"github.com/deacon-agent/deacon/isolation/slot"
)

// ProbeEnv makes this program, started anew in a network namespace of its own, the
// probe of the firewall: what it makes there goes with it.
const ProbeEnv = "DEACON_DOCTOR_FIREWALL"

// ProbeFirewall is what that process does: exactly what an agent does at its start.
func ProbeFirewall(told string) error {
	var pool netip.Prefix
	if err := json.Unmarshal([]byte(told), &pool); err != nil {
		return err
	}
	n, _, err := network.Open(network.Config{
		Plan:   slot.Plan{Tag: slot.TagOf("doctor"), Pool: pool, UIDBase: slot.UIDsPerSlot},
		Egress: network.Reject, Loopback: true, HostAccess: true,
	})
	if err != nil {
		return err
	}
	defer n.Close()
	return n.Restore(nil)
}

func firewall(ctx context.Context, p *patient) Finding {
	pool, err := json.Marshal(p.config.Network.Pool)
	if err != nil {
		return Finding{Verdict: Unknown, What: reasonOf(err)}
	}
	probe := exec.CommandContext(ctx, p.program)
	probe.Args = []string{"deacon"}
	probe.Env = append(os.Environ(), ProbeEnv+"="+string(pool))
	probe.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	var said bytes.Buffer
	probe.Stdout, probe.Stderr = &said, &said
	if err := probe.Run(); err != nil {
		return missing("the kernel needs nftables: nf_tables, nft_chain_nat, nft_masq, nft_ct, nft_limit and nft_log",
			"the node's table can't be made: %s", strings.TrimSpace(said.String()+" "+reasonOf(err)))
	}
	return good("nftables, with all that the node's table has")
}

func forwarding(context.Context, *patient) Finding {
	now, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	if err != nil {
		return Finding{Verdict: Unknown, What: reasonOf(err)}
	}
	if strings.TrimSpace(string(now)) != "1" {
		return weak("nothing: the agent switches it on at its start; sysctl net.ipv4.ip_forward=1 does it for good",
			"off, and containers would reach nothing")
	}
	return good("on")
}

func tracking(context.Context, *patient) Finding {
	most, err := readNumber("/proc/sys/net/netfilter/nf_conntrack_max")
	if err != nil {
		return weak("nothing, where nf_conntrack is a module: it is loaded with the node's table",
			"not loaded yet")
	}
	now, _ := readNumber("/proc/sys/net/netfilter/nf_conntrack_count")
	if now > most*8/10 {
		return weak("raise sysctl net.netfilter.nf_conntrack_max",
			"%d of %d connections are tracked: new ones will be dropped", now, most)
	}
	return good("%d of %d connections", now, most)
}

func readNumber(file string) (int64, error) {
	body, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(body)), 10, 64)
}

// addresses looks for somebody else in the containers' networks. Links of the node's
// own containers have an address of the pool, and a name that begins as ours do.
func addresses(_ context.Context, p *patient) Finding {
	links, err := net.Interfaces()
	if err != nil {
		return Finding{Verdict: Unknown, What: reasonOf(err)}
	}
	pool := p.config.Network.Pool
	for _, link := range links {
		if strings.HasPrefix(link.Name, "dcn") {
			continue
		}
		held, err := link.Addrs()
		if err != nil {
			continue // it went while we looked
		}
		for _, address := range held {
			other, err := netip.ParsePrefix(address.String())
			if err == nil && pool.Overlaps(other.Masked()) && other.Bits() > 0 {
				return missing("set network.pool to a network that is nobody's here",
					"%s of %s is in the containers' pool %s", other, link.Name, pool)
			}
		}
	}
	return good("%s is nobody else's", pool)
}

// ports are those that are mapped to containers: nobody else should listen there,
// and the kernel should give them to nobody.
func ports(_ context.Context, p *patient) Finding {
	first, last := p.config.Network.PortFirst, p.config.Network.PortLast
	var taken []string
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		body, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for _, port := range listening(string(body)) {
			if port >= first && port <= last {
				taken = append(taken, strconv.Itoa(int(port)))
			}
		}
	}
	if len(taken) > 0 {
		return weak("set network.port_first and port_last to others, or stop who listens",
			"%d to %d are for containers, but somebody listens at %s", first, last, strings.Join(taken, ", "))
	}
	var low, high uint16
	if body, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		fmt.Sscan(string(body), &low, &high)
		if low <= last && first <= high {
			return weak("set network.port_first and port_last beside it, or sysctl net.ipv4.ip_local_reserved_ports",
				"%d to %d overlap what the kernel gives to connections, %d to %d", first, last, low, high)
		}
	}
	return good("%d to %d are free", first, last)
}

// listenState is TCP_LISTEN in /proc/net/tcp.
const listenState = "0A"

func listening(table string) (ports []uint16) {
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) < 4 || fields[3] != listenState {
			continue
		}
		_, port, _ := strings.Cut(fields[1], ":")
		if n, err := strconv.ParseUint(port, 16, 16); err == nil {
			ports = append(ports, uint16(n))
		}
	}
	return ports
}
