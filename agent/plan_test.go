package agent

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/network"
	"github.com/deacon-agent/deacon/messaging"
)

func TestAnInstanceBecomesAContainerWithItsLimits(t *testing.T) {
	place := placed()
	spec, job, err := newTestPlanner().Plan(place, asked(), actors.Droplet{Layer: "/droplets/d"})
	if err != nil {
		t.Fatal(err)
	}
	want := isolation.Spec{
		ID: "abcdefghijk", Slot: 7, Epoch: 2, Owner: isolation.OwnerInstance, Tenant: place.Instance,
		Hostname: place.Instance, Created: place.Started,
		Rootfs: isolation.Rootfs{Layers: []string{"/droplets/d", "/s/host-1"},
			Binds: []isolation.Bind{{Source: "/usr", Target: "/usr", ReadOnly: true}}},
		Limits: isolation.Limits{MemoryBytes: 128 << 20, CPUShares: 16, Pids: 512, DiskBytes: 256 << 20, DiskInodes: 200_000},
		Network: isolation.Network{Ports: []isolation.PortMap{{Host: 20007, Container: 20007}},
			DNS: []netip.Addr{netip.MustParseAddr("192.0.2.53")}},
	}
	if diff := cmp.Diff(want, spec, byAddress); diff != "" {
		t.Error("spec (-want +got):\n", diff)
	}
	job.Argv, job.Env = nil, nil
	wantJob := isolation.Job{Number: 1, Dir: "/home/vcap/app", PidFile: "/home/vcap/run.pid",
		User: isolation.User{UID: 2000, GID: 2000}, Umask: 0o077, Files: 2048, Procs: 512, OutputMax: 16 << 20,
		Fallback: []string{"/bin/bash", "-c", printEnvironment}}
	if diff := cmp.Diff(wantJob, job); diff != "" {
		t.Error("job (-want +got):\n", diff)
	}
}

func TestTheProcessorsShareFollowsTheMemory(t *testing.T) {
	for mib, want := range map[int64]uint64{1: 1, 7: 1, 16: 2, 100: 12, 2047: 255, 2048: 256, 1 << 20: 256} {
		start := asked()
		start.Limits.MemoryMiB = mib
		spec, _, err := newTestPlanner().Plan(placed(), start, actors.Droplet{})
		if err != nil || spec.Limits.CPUShares != want {
			t.Errorf("%d MiB: %d shares, %v; want %d", mib, spec.Limits.CPUShares, err, want)
		}
	}
}

func TestAStackIsChosenByName(t *testing.T) {
	start := asked()
	start.Stack = "lucid64"
	spec, _, err := newTestPlanner().Plan(placed(), start, actors.Droplet{Layer: "/d"})
	want := isolation.Rootfs{Layers: []string{"/d", "/stacks/lucid64"}}
	if diff := cmp.Diff(want, spec.Rootfs); diff != "" || err != nil {
		t.Error(err, diff)
	}
	start.Stack = "trusty64"
	_, _, err = newTestPlanner().Plan(placed(), start, actors.Droplet{})
	if err == nil || !strings.Contains(err.Error(), `no stack "trusty64", there are: host, lucid64`) {
		t.Errorf("error is %v, want one that names the stacks", err)
	}
}

// Two plans must not share what one of them may append to.
func TestPlansShareNoLayers(t *testing.T) {
	p := newTestPlanner()
	first, _, _ := p.Plan(placed(), asked(), actors.Droplet{Layer: "/one"})
	second, _, _ := p.Plan(placed(), asked(), actors.Droplet{Layer: "/two"})
	if first.Rootfs.Layers[0] != "/one" || second.Rootfs.Layers[0] != "/two" {
		t.Errorf("layers are %q and %q", first.Rootfs.Layers, second.Rootfs.Layers)
	}
}

func TestAnInstanceThatIsNoHostNameLeavesTheContainersId(t *testing.T) {
	for instance, want := range map[string]string{"a-1": "a-1", "": "", "a.b": "", "-a": "", "a-": "", "a_b": "",
		strings.Repeat("x", 63): strings.Repeat("x", 63), strings.Repeat("x", 64): ""} {
		if got := hostnameOf(instance); got != want {
			t.Errorf("%q: got %q, want %q", instance, got, want)
		}
	}
}

func TestWhatCannotBePlannedIsSaidWithoutSecrets(t *testing.T) {
	for want, change := range map[string]func(*messaging.StartInstance){
		"limits.mem: 0 MiB":   func(s *messaging.StartInstance) { s.Limits.MemoryMiB = 0 },
		"limits.disk: -1 MiB": func(s *messaging.StartInstance) { s.Limits.DiskMiB = -1 },
		"limits.mem: 4611686": func(s *messaging.StartInstance) { s.Limits.MemoryMiB = 1 << 62 },
		`"KEY" has a zero byte`: func(s *messaging.StartInstance) {
			s.Environment = []messaging.Variable{{Name: "KEY", Value: "hunter2\x00"}}
		},
		`"KEY" takes 131079 bytes`: func(s *messaging.StartInstance) {
			s.Environment = []messaging.Variable{{Name: "KEY", Value: strings.Repeat("x", 131068) + "hunter2"}}
		},
		"more than 245760": func(s *messaging.StartInstance) {
			for _, name := range []string{"A", "B", "C"} {
				s.Environment = append(s.Environment, messaging.Variable{Name: name, Value: strings.Repeat("hunter2", 13000)})
			}
		},
		"start command has 200000 bytes": func(s *messaging.StartInstance) { s.StartCommand = strings.Repeat("x", 200000) },
		"vcap_application is not a JSON": func(s *messaging.StartInstance) { s.VCAPApplication = []byte(`["hunter2"]`) },
		"credentials of a service are not JSON": func(s *messaging.StartInstance) {
			s.Services = []messaging.Service{{Name: "x", Label: "y", Credentials: []byte(`{"password":"hunter2"`)}}
		},
		"egress rule 1: protocol": func(s *messaging.StartInstance) {
			s.Egress = []messaging.EgressRule{{Protocol: "sctp", Destination: "10.0.0.0/8"}}
		},
	} {
		start := asked()
		change(&start)
		_, _, err := newTestPlanner().Plan(placed(), start, actors.Droplet{})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("error is %v, want one with %q and no secret", err, want)
		}
	}
}

func TestAnEgressRuleIsReadAsTheWireWritesIt(t *testing.T) {
	span := func(first, last uint16) isolation.PortSpan { return isolation.PortSpan{First: first, Last: last} }
	addr := netip.MustParseAddr
	for _, c := range []struct {
		rule messaging.EgressRule
		want isolation.EgressRule
	}{
		{messaging.EgressRule{Protocol: "tcp", Destination: "10.0.0.0/8", Ports: "80,443, 8000-9000"},
			isolation.EgressRule{Protocol: "tcp", First: addr("10.0.0.0"), Last: addr("10.255.255.255"),
				Ports: []isolation.PortSpan{span(80, 80), span(443, 443), span(8000, 9000)}, ICMPType: -1, ICMPCode: -1}},
		{messaging.EgressRule{Protocol: "udp", Destination: "10.0.0.5 - 10.0.1.2", Log: true},
			isolation.EgressRule{Protocol: "udp", First: addr("10.0.0.5"), Last: addr("10.0.1.2"),
				ICMPType: -1, ICMPCode: -1, Log: true}},
		{messaging.EgressRule{Protocol: "icmp", Destination: "192.0.2.1", Type: 8, Code: -1},
			isolation.EgressRule{Protocol: "icmp", First: addr("192.0.2.1"), Last: addr("192.0.2.1"),
				ICMPType: 8, ICMPCode: -1}},
		{messaging.EgressRule{Protocol: "all", Destination: "0.0.0.0/0"},
			isolation.EgressRule{Protocol: "all", First: addr("0.0.0.0"), Last: addr("255.255.255.255"),
				ICMPType: -1, ICMPCode: -1}},
		{messaging.EgressRule{Protocol: "all", Destination: "10.1.2.3/23"},
			isolation.EgressRule{Protocol: "all", First: addr("10.1.2.0"), Last: addr("10.1.3.255"),
				ICMPType: -1, ICMPCode: -1}},
	} {
		got, err := readEgress(c.rule)
		if diff := cmp.Diff(c.want, got, byAddress); diff != "" || err != nil {
			t.Errorf("%+v: %v\n%s", c.rule, err, diff)
		}
	}
}

func TestRulesThatAreLoggedGoLast(t *testing.T) {
	var rules []messaging.EgressRule
	for i, destination := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"} {
		rules = append(rules, messaging.EgressRule{Protocol: "all", Destination: destination, Log: i%2 == 0})
	}
	got, err := planEgress(rules)
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, r := range got {
		order = append(order, r.First.String())
	}
	if want := "10.0.0.2 10.0.0.4 10.0.0.1 10.0.0.3"; strings.Join(order, " ") != want {
		t.Errorf("order is %q, want %q", order, want)
	}
}

func TestABadEgressRuleIsRefusedWithTheReason(t *testing.T) {
	for want, rule := range map[string]messaging.EgressRule{
		`destination "" is no`:                      {Protocol: "tcp"},
		`destination "10.0.0.0/33" is no`:           {Protocol: "tcp", Destination: "10.0.0.0/33"},
		`destination "10.0.0.9-10.0.0.1" is no`:     {Protocol: "tcp", Destination: "10.0.0.9-10.0.0.1"},
		`destination "10.0.0.1-" is no`:             {Protocol: "tcp", Destination: "10.0.0.1-"},
		`destination "::/0" is no`:                  {Protocol: "all", Destination: "::/0"},
		`destination "example.org" is no`:           {Protocol: "all", Destination: "example.org"},
		`protocol "TCP" is none of`:                 {Protocol: "TCP", Destination: "10.0.0.1"},
		`ports "80,": "" is no port`:                {Protocol: "tcp", Destination: "10.0.0.1", Ports: "80,"},
		`ports "0": "0" is no port`:                 {Protocol: "tcp", Destination: "10.0.0.1", Ports: "0"},
		`ports "65536": "65536" is no port`:         {Protocol: "udp", Destination: "10.0.0.1", Ports: "65536"},
		`ports "9-8": 9 is above 8`:                 {Protocol: "udp", Destination: "10.0.0.1", Ports: "9-8"},
		`ports "1-2-3": "2-3" is no port`:           {Protocol: "udp", Destination: "10.0.0.1", Ports: "1-2-3"},
		`protocol icmp has no ports, but "1"`:       {Protocol: "icmp", Destination: "10.0.0.1", Ports: "1"},
		`icmp type 256 is not between -1 (any) and`: {Protocol: "icmp", Destination: "10.0.0.1", Type: 256},
		`icmp code -2 is not between -1 (any) and`:  {Protocol: "icmp", Destination: "10.0.0.1", Code: -2},
	} {
		if _, err := readEgress(rule); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error is %v, want %q in it", rule, err, want)
		}
	}
}

// The kernel's rules are one for each span of ports; a list that is too long is
// not even read to its end.
func TestTooManyEgressRulesAreRefused(t *testing.T) {
	list := func(count int, ports string) (rules []messaging.EgressRule) {
		for range count {
			rules = append(rules, messaging.EgressRule{Protocol: "tcp", Destination: "10.0.0.1", Ports: ports})
		}
		return rules
	}
	p := newTestPlanner()
	for _, rules := range [][]messaging.EgressRule{list(network.EgressMax, "80"), list(network.EgressMax/2, "80,81-90"), nil} {
		if got, err := p.Egress(rules); err != nil || len(got) != len(rules) {
			t.Errorf("%d rules become %d, %v", len(rules), len(got), err)
		}
	}
	unread := messaging.EgressRule{Protocol: "none", Destination: "10.0.0.1"}
	for want, rules := range map[string][]messaging.EgressRule{
		"agent: egress rule 1001: with each": append(list(network.EgressMax+1, ""), unread),
		"agent: egress rule 501: with each":  append(list(network.EgressMax/2+1, "80,81-90"), unread),
		"agent: egress rule 1: with each":    list(1, strings.Repeat("80,", network.EgressMax)+"80"),
		"agent: egress rule 2: protocol":     append(list(1, "80"), unread),
	} {
		if got, err := p.Egress(rules); err == nil || !strings.HasPrefix(err.Error(), want) || got != nil {
			t.Errorf("%d rules become %d, %v; want %q", len(rules), len(got), err, want)
		}
	}
}

func FuzzEgress(f *testing.F) {
	f.Add("tcp", "10.0.0.0/8", "80,443,8000-9000")
	f.Add("all", "1.1.1.1-2.2.2.2", "")
	f.Fuzz(func(t *testing.T, protocol, destination, ports string) {
		got, err := readEgress(messaging.EgressRule{Protocol: protocol, Destination: destination, Ports: ports})
		if err == nil && (!got.First.Is4() || got.Last.Less(got.First)) {
			t.Errorf("%q is read as %s to %s", destination, got.First, got.Last)
		}
	})
}

func BenchmarkPlan(b *testing.B) {
	p, place := newTestPlanner(), placed()
	start := asked()
	for _, name := range []string{"A", "B", "C", "D", "E", "F", "G", "H"} {
		v := messaging.Variable{Name: name, Value: strings.Repeat("value $HOME ", 10)}
		start.Environment = append(start.Environment, v)
	}
	for b.Loop() {
		if _, _, err := p.Plan(place, start, actors.Droplet{}); err != nil {
			b.Fatal(err)
		}
	}
}
