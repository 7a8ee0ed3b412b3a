package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
)

// pressureDir is where the kernel accounts for the whole machine.
const pressureDir = "/proc/pressure"

var pressureResources = []string{"cpu", "memory", "io"}

// MachinePressure is how long processes of this machine stood still; nothing where
// the kernel doesn't account for it.
func MachinePressure() ([]isolation.Stall, error) {
	return readPressure("machine", func(resource string) string { return filepath.Join(pressureDir, resource) })
}

func (d *v1) Pressure() ([]isolation.Stall, error) { return nil, nil }

func (d *v2) Pressure() ([]isolation.Stall, error) {
	return readPressure("containers", func(resource string) string {
		return filepath.Join(d.parent, resource+".pressure")
	})
}

// readPressure passes over what isn't there, or is switched off (psi=0).
func readPressure(scope string, file func(resource string) string) ([]isolation.Stall, error) {
	var all []isolation.Stall
	for _, resource := range pressureResources {
		body, err := os.ReadFile(file(resource))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EOPNOTSUPP) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("cgroup: pressure: %w", err)
		}
		stalls, err := parsePressure(scope, resource, string(body))
		if err != nil {
			return nil, fmt.Errorf("cgroup: pressure: %s: %w", file(resource), err)
		}
		all = append(all, stalls...)
	}
	return all, nil
}

// parsePressure reads lines such as "some avg10=0.00 avg60=0.00 avg300=0.00 total=12".
func parsePressure(scope, resource, body string) ([]isolation.Stall, error) {
	var stalls []isolation.Stall
	for line := range strings.Lines(body) {
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		_, total, found := strings.Cut(rest, "total=")
		us, err := strconv.ParseInt(total, 10, 64)
		if !found || err != nil || us < 0 || us > int64(1<<63-1)/1000 {
			return nil, fmt.Errorf("%.80q has no total", line)
		}
		stalls = append(stalls, isolation.Stall{
			Scope: scope, Resource: resource, Kind: kind, Total: time.Duration(us) * time.Microsecond,
		})
	}
	return stalls, nil
}
