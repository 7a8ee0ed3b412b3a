package tidy

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// mayImport is the direction of the data path, package by package. A pattern
// that ends in /* stands for the folder and everything below it. What is
// missing here may import nothing of ours, but for what lies below isolation,
// which may import isolation.
var mayImport = map[string][]string{
	"cmd/deacon": {"agent/*", "messaging/*"},
	"cmd/deacon-init": {
		"isolation/initproto", "isolation/record", "isolation/guard", "isolation/rootfs",
	},
	"agent": {
		"agent/chaos", "agent/journal", "agent/legacy", "agent/metrics", "agent/settings", "actors/*", "messaging/*",
		"isolation/*", "staging/*",
	},
	"agent/doctor":            {"agent", "isolation/*", "messaging/bus"},
	"agent/metrics":           {"actors/kit", "isolation", "messaging", "messaging/bus"},
	"agent/chaos":             {"actors", "actors/kit", "isolation", "isolation/slot"},
	"agent/chaos/drill":       {"agent/chaos", "agent/settings", "messaging", "messaging/bus", "messaging/dea"},
	"actors":                  {"actors/kit", "messaging", "isolation", "isolation/slot"},
	"messaging/bus":           {"messaging", "messaging/complaints", "messaging/dea", "messaging/exec"},
	"messaging/socket":        {"messaging", "messaging/complaints", "messaging/warden"},
	"messaging/dea":           {"messaging"},
	"messaging/status":        {"messaging", "messaging/dea"},
	"messaging/warden":        {"messaging", "messaging/warden/protocol"},
	"messaging/warden/client": {"messaging/warden", "messaging/warden/protocol"},
	"isolation/box":           {"isolation/*"},
	"staging/stack":           {"staging"},
	"isolation":               {},
}

// importExceptions go beyond the table, sideways and never upwards.
var importExceptions = exceptions{
	"cmd/deacon > cmd/deacon/devnats":             "the embedded NATS server of deacon dev, its own package to keep the import in one place",
	"cmd/deacon > staging/stack":                  "deacon rootfs says what is to be made; where stacks lie and who uses one it asks agent",
	"cmd/deacon > staging":                        "deacon run makes a folder a droplet, as a stager would; that is staging.Seal",
	"cmd/deacon-init > isolation/packet":          "datagrams with descriptors: what initproto's messages travel in",
	"cmd/deacon-init > cmd/deacon-init/inherited": "limits that every job starts from, a package of its own because it acts before main does",
	"isolation/initclient > isolation/initproto":  "the agent's end of the protocol with PID 1",
	"isolation/initclient > isolation/packet":     "the same transport as PID 1's",
	"isolation/launcher > isolation/initproto":    "the agent's end of the protocol with the launcher",
	"isolation/launcher > isolation/packet":       "the same transport as the launcher's",
	"isolation/network > isolation/slot":          "names and addresses follow from the slot, and only slot knows how",
	"isolation/output > isolation/record":         "how far lines were taken is a record like any other",
}

// mustStayPure may import the standard library only: initproto is part of every
// container's PID 1, and the others are promised to be pure.
var mustStayPure = []string{"isolation/initproto", "isolation/slot", "messaging", "messaging/dea", "messaging/exec"}

func TestImportsFollowTheDataPath(t *testing.T) {
	known := allow(importExceptions)
	for _, s := range tree(t) {
		if s.isTest() || within(s.folder, "testsuite") || within(s.folder, "examples") {
			continue
		}
		for _, spec := range s.syntax.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			to, ours := strings.CutPrefix(imported, module+"/")
			switch {
			case ours && !permits(s.folder, to) && !known.has(s.folder+" > "+to):
				t.Errorf("%s: %s may not import %s", s.at(spec), s.folder, to)
			case !ours && slices.Contains(mustStayPure, s.folder) && strings.Contains(imported, "."):
				t.Errorf("%s: %s may not import %s: it needs nothing but the standard library", s.at(spec), s.folder, imported)
			}
		}
	}
	known.expectNeeded(t)
}

func permits(from, to string) bool {
	list, listed := mayImport[from]
	if !listed && within(from, "isolation") {
		list = []string{"isolation"}
	}
	return slices.ContainsFunc(list, func(pattern string) bool {
		folder, all := strings.CutSuffix(pattern, "/*")
		return to == folder || all && within(to, folder)
	})
}

// within says whether a folder is another one or lies below it.
func within(folder, above string) bool {
	return folder == above || strings.HasPrefix(folder, above+"/")
}

// soleImporters says which packages a library is for, tests included: what
// wraps it is the only place that knows its traps.
var soleImporters = map[string][]string{
	"github.com/asynkron/protoactor-go": {"actors/kit"},
	// The whole-node tests play controllers that know nothing but the wire.
	"github.com/nats-io/nats.go":     {"messaging/bus", "testsuite/rig", "testsuite/e2e", "testsuite/bench"},
	"github.com/nats-io/nats-server": {"cmd/deacon/devnats", "testsuite/rig"},
	"github.com/hashicorp/hcl":       {"agent", "agent/legacy", "agent/settings", "agent/chaos/drill"},
	"github.com/zclconf/go-cty":      {"agent/legacy", "agent/settings"},
	"github.com/spf13/cobra":         {"cmd/deacon"},
	// A fault does what a stranger would, past all code of ours.
	"github.com/google/nftables": {"isolation/network", "agent/chaos", "testsuite/rig"},
	// The agent asks it for the default route's address, once, at its start.
	"github.com/vishvananda/netlink":    {"isolation/network", "agent", "agent/chaos", "testsuite/rig", "testsuite/bench"},
	"github.com/elastic/go-seccomp-bpf": {"isolation/guard/filter"},
	"github.com/klauspost/compress":     {"staging"},
	// The whole-node tests make images of a stack, and serve them.
	"github.com/google/go-containerregistry": {"staging/stack", "testsuite/stacks"},
	"github.com/prometheus":                  {"agent/metrics"},
}

// testImporters may, in their tests, import what their package may not.
var testImporters = map[string][]string{
	"github.com/nats-io/nats.go":     {"cmd/deacon"},
	"github.com/nats-io/nats-server": {"agent/chaos", "cmd/deacon", "messaging/bus", "testsuite/e2e"},
	"github.com/vishvananda/netlink": {"testsuite/e2e"},
}

func TestALibraryHasOneWrapper(t *testing.T) {
	for _, s := range tree(t) {
		for _, spec := range s.syntax.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			for library, users := range soleImporters {
				if !within(imported, library) || slices.Contains(users, s.folder) ||
					s.isTest() && slices.Contains(testImporters[library], s.folder) {
					continue
				}
				t.Errorf("%s: %s may not import %s; only %s may", s.at(spec), s.folder, path.Base(library), strings.Join(users, ", "))
			}
		}
	}
}
