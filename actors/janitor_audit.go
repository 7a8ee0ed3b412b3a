package actors

import (
	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/isolation"
)

// report says what an audit found: nothing that somebody else did to a container
// is mended, or is its end, in silence. What stays as it is is said once.
func (j *janitor) report(c *kit.Context[janitorMessage], m audited) {
	if m.err != nil {
		c.Log().Warn("not everything could be audited; the next audit tries again", "error", m.err)
	}
	said := map[isolation.Finding]bool{}
	for _, f := range m.found {
		said[f] = true
		if j.said[f] {
			continue
		}
		whose := f.Container
		if whose == "" {
			whose = "the node"
		}
		if !f.Lost {
			c.Log().Warn("somebody else changed what this node made", "whose", whose, "what", f.What, "remedy", f.Remedy)
			continue
		}
		c.Log().Error("somebody else took what a container can't be without", "container", whose, "what", f.What,
			"remedy", f.Remedy)
		j.parts.instances.Tell(harmed{f.Container, f.What})
	}
	j.said = said
}
