package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/deacon-agent/deacon/agent/settings"
	"github.com/deacon-agent/deacon/isolation"
)

// BindMount is a folder or file of the node that every application finds in its
// container.
type BindMount struct {
	Target string // in the container
	Source string // on the node
	Mode   BindMode
}

// BindMode is what applications may do there.
type BindMode string

// As the first and the second generation of the DEA wrote them.
const (
	ReadOnly  BindMode = "ro"
	ReadWrite BindMode = "rw"
)

type bindBlock struct {
	Target      string         `hcl:"target,label"`
	TargetRange hcl.Range      `hcl:"target,label_range"`
	Source      *hcl.Attribute `hcl:"source,optional"`
	Mode        *hcl.Attribute `hcl:"access,optional"`
}

// bindTargetsTaken are what a container is made of itself; what is mounted there
// would take it away.
var bindTargetsTaken = []string{"/proc", "/sys", "/dev", "/usr", home}

func readBinds(r *settings.Reader, blocks []*bindBlock) (binds []BindMount) {
	first := map[string]hcl.Range{}
	for _, b := range blocks {
		bind := BindMount{Target: b.Target, Mode: ReadOnly}
		fault := func(summary, detail string, facts ...any) { r.FaultAt(b.TargetRange, summary, detail, facts...) }
		earlier, twice := first[b.Target]
		switch {
		case !filepath.IsAbs(b.Target) || filepath.Clean(b.Target) != b.Target || strings.ContainsRune(b.Target, 0):
			fault("Not a place in a container", "A bind mount is named by where it is found, a plain path that begins with /.")
		case b.Target == "/" || isTaken(b.Target):
			fault("A place that is taken", "Every container has something of its own at %s.", b.Target)
		case twice:
			fault("Bind mount given twice", "What is mounted at %s is already given at %s.", b.Target, earlier)
		case b.Source == nil:
			fault("A bind mount of nothing", "What of the node is to be found there? Set source to its path.")
		}
		first[b.Target] = b.TargetRange
		r.Path(b.Source, &bind.Source)
		settings.Choice(r, b.Mode, &bind.Mode, ReadOnly, ReadWrite)
		binds = append(binds, bind)
	}
	return binds
}

func isTaken(target string) bool {
	for _, taken := range bindTargetsTaken {
		if target == taken || taken != home && strings.HasPrefix(target, taken+"/") {
			return true
		}
	}
	return false
}

// check looks for what is to be mounted.
func (b BindMount) check() error {
	_, err := os.Stat(b.Source)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("there is no %s on this machine", b.Source)
	}
	if err != nil {
		return fmt.Errorf("agent: bind_mount %s: %w", b.Target, err)
	}
	return nil
}

// bindsOf are those of the stack and then those of the configuration: owners are
// shifted, so that what belongs to the node's vcap is the application's.
func bindsOf(stack StackRoot, mounts []BindMount) []isolation.Bind {
	if len(mounts) == 0 {
		return stack.Binds
	}
	binds := append([]isolation.Bind(nil), stack.Binds...)
	for _, m := range mounts {
		binds = append(binds, isolation.Bind{
			Source: m.Source, Target: m.Target, ReadOnly: m.Mode != ReadWrite, Shifted: true,
		})
	}
	return binds
}
