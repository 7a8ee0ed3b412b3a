package agent

import (
	"slices"
	"strings"
	"testing"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/isolation"
)

func TestBindMountsFollowTheStacksOwn(t *testing.T) {
	p := newTestPlanner()
	p.config.Binds = []BindMount{{"/data", "/srv/data", ReadWrite}, {"/models", "/srv/models", ReadOnly}}
	for range 2 { // nothing is added to what all plans share
		spec, _, err := p.Plan(placed(), asked(), actors.Droplet{Layer: "/d"})
		want := []isolation.Bind{
			{Source: "/usr", Target: "/usr", ReadOnly: true},
			{Source: "/srv/data", Target: "/data", Shifted: true},
			{Source: "/srv/models", Target: "/models", ReadOnly: true, Shifted: true},
		}
		if err != nil || !slices.Equal(spec.Rootfs.Binds, want) {
			t.Errorf("got %+v, %v", spec.Rootfs.Binds, err)
		}
	}
}

func TestABindMountOfNothingIsNamed(t *testing.T) {
	c := DefaultConfig()
	c.Node.State, c.Node.Init = t.TempDir(), write(t, "deacon-init", "", 0o755)
	c.Binds = []BindMount{{"/data", "/nowhere", ReadOnly}}
	if _, _, err := c.Resolve(); err == nil || !strings.Contains(err.Error(), "bind_mount /data: there is no /nowhere on this machine") {
		t.Errorf("error is %v", err)
	}
}
