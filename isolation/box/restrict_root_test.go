package box

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/testsuite/rig"
)

// A container's rules are replaced while it lives, on record too: a successor
// makes the same of it, and an audit of neither finds anything amiss.
func TestALivingContainersRulesAreReplaced(t *testing.T) {
	outside := rig.NewOutside(t)
	go takesAll(outside.Listen(t, netip.AddrPortFrom(rig.InternetAddress, 80)))
	m := newMachine(t)
	b, _ := m.open()
	spec := m.spec(0)
	web := isolation.EgressRule{Protocol: "tcp", First: rig.InternetAddress, Last: rig.InternetAddress, Log: true,
		Ports: []isolation.PortSpan{{First: 80, Last: 81}}}
	spec.Network.Default, spec.Network.Egress = "reject", []isolation.EgressRule{web}
	if _, err := b.Create(t.Context(), spec, nil); err != nil {
		t.Fatal(err)
	}
	restrict := func(rules ...isolation.EgressRule) {
		t.Helper()
		if err := b.Restrict(t.Context(), spec.ID, rules); err != nil {
			t.Fatal(err)
		}
		if found, err := b.Audit(t.Context()); err != nil || len(found) > 0 {
			t.Errorf("an audit finds %+v, %v", found, err)
		}
	}
	if got := b.attachment(isolation.Spec{Owner: "instance", ID: "aaaaaaaaaaa", Hostname: "7ad89d45"}).Name; got !=
		"instance-7ad89d45" {
		t.Errorf("the kernel's log calls an application's container %q", got)
	}
	check := m.connecting(&b)
	check(spec.ID, "open")
	restrict()
	check(spec.ID, "refused")
	other := web
	other.Ports = []isolation.PortSpan{{First: 443, Last: 443}}
	restrict(other, web)
	check(spec.ID, "open")
	bad := web
	bad.Protocol = "sctp"
	err := b.Restrict(t.Context(), spec.ID, []isolation.EgressRule{other, bad})
	if err == nil || !strings.Contains(err.Error(), "egress rule 2: protocol \"sctp\"") {
		t.Errorf("error is %v", err)
	}
	check(spec.ID, "open")
	restrict(other)
	check(spec.ID, "refused")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	b, found := m.open()
	defer m.end(b)
	if len(found) != 1 || len(found[0].Network.Egress) != 1 || !sameRule(found[0].Network.Egress[0], other) {
		t.Errorf("a successor finds %+v", found)
	}
	if found, err := b.Audit(t.Context()); err != nil || len(found) > 0 {
		t.Errorf("a successor's audit finds %+v, %v", found, err)
	}
	check(spec.ID, "refused")
	restrict(web)
	check(spec.ID, "open")
}
