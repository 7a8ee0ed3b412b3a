package tidy

import (
	"go/ast"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// clockCalls read the wall clock or wait by it. The actors' time is kit's
// clock, and the kernel's side has no use for time: it waits for events.
var clockCalls = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

// randomMakers are what math/rand has that isn't the global source.
var randomMakers = []string{"New", "NewPCG", "NewChaCha8", "NewSource", "NewZipf", "Rand", "PCG", "ChaCha8", "Source", "Zipf"}

// callExceptions are the places below actors and isolation that may.
var callExceptions = exceptions{
	"actors/kit/clock.go: time.Now":            "the clock that everything else is handed",
	"actors/kit/clock.go: time.AfterFunc":      "the clock that everything else is handed",
	"actors/kit/system.go: rand.Uint64":        "a seed that nobody gave is drawn, and from then on it is the seed",
	"isolation/cgroup/v1.go: time.Sleep":       "the kernel's notice comes before the kill is counted; bounded by settleMax",
	"isolation/box/adopt.go: time.After":       "a PID 1 that is busy is asked again after a pause, within a bound",
	"isolation/box/box.go: time.After":         "groups that are busy are removed after a pause, within a bound",
	"isolation/box/destroy.go: time.After":     "who dies after its PID 1 tells nobody; within a bound",
	"isolation/box/stopwatch.go: time.Now":     "durations are what it is for",
	"isolation/box/stopwatch.go: time.Since":   "durations are what it is for",
	"isolation/initclient/client.go: time.Now": "a socket's deadline is a point in time",
	"isolation/initclient/gate.go: time.Now":   "a socket's deadline is a point in time",
	"isolation/output/follow.go: time.After":   "offsets are recorded at most every SaveEvery",
}

// TestActorsAndIsolationReadNoClock keeps time, chance and printing out of what
// has to be replayable, and of what has a logger.
func TestActorsAndIsolationReadNoClock(t *testing.T) {
	known := allow(callExceptions)
	for _, s := range tree(t) {
		if s.isTest() || !within(s.folder, "actors") && !within(s.folder, "isolation") {
			continue
		}
		for _, spec := range s.syntax.Imports {
			if spec.Path.Value == `"log"` {
				t.Errorf("%s: log may not be used here; loggers are handed down", s.at(spec))
			}
		}
		s.eachUse(func(n ast.Node, pkg, name string) {
			if banned(pkg, name) && !known.has(s.name+": "+lastPart(pkg)+"."+name) {
				t.Errorf("%s: %s.%s may not be used here", s.at(n), lastPart(pkg), name)
			}
		})
	}
	known.expectNeeded(t)
}

func banned(pkg, name string) bool {
	switch pkg {
	case "time":
		return slices.Contains(clockCalls, name)
	case "math/rand", "math/rand/v2":
		return !slices.Contains(randomMakers, name)
	case "fmt":
		return strings.HasPrefix(name, "Print")
	}
	return false
}

func TestActorsStartNoGoroutine(t *testing.T) {
	for _, s := range tree(t) {
		if s.isTest() || s.folder != "actors" {
			continue
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			if _, ok := n.(*ast.GoStmt); ok {
				t.Errorf("%s: actors start no goroutine; kit.Pipe does work off the mailbox", s.at(n))
			}
			return true
		})
		s.eachUse(func(n ast.Node, pkg, name string) {
			if pkg == "sync" && (name == "Mutex" || name == "RWMutex") {
				t.Errorf("%s: sync.%s has no place in actors; what is shared is an actor's own, and asked for", s.at(n), name)
			}
		})
	}
}

// mayExit are the folders in which a program's end is decided.
var mayExit = []string{"cmd", "examples", "testsuite"}

func TestOnlyProgramsEndTheProcess(t *testing.T) {
	for _, s := range tree(t) {
		if s.isTest() || slices.ContainsFunc(mayExit, func(f string) bool { return within(s.folder, f) }) {
			continue
		}
		s.eachUse(func(n ast.Node, pkg, name string) {
			if pkg == "os" && name == "Exit" {
				t.Errorf("%s: os.Exit may not be used here; return an error", s.at(n))
			}
		})
	}
}

// eachUse calls see for every pkg.Name in the file, pkg by its import path.
func (s source) eachUse(see func(n ast.Node, pkg, name string)) {
	imported := map[string]string{}
	for _, spec := range s.syntax.Imports {
		p, _ := strconv.Unquote(spec.Path.Value)
		name := lastPart(p)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		imported[name] = p
	}
	ast.Inspect(s.syntax, func(n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		// An identifier with an object of its own is a variable that hides the package.
		if x, ok := selector.X.(*ast.Ident); ok && x.Obj == nil && imported[x.Name] != "" {
			see(n, imported[x.Name], selector.Sel.Name)
		}
		return true
	})
}

// lastPart is the name that a package is used by, its major version aside.
func lastPart(importPath string) string {
	parts := strings.Split(importPath, "/")
	last := parts[len(parts)-1]
	if len(parts) > 1 && len(last) > 1 && last[0] == 'v' && token.IsIdentifier(last) && last[1] >= '0' && last[1] <= '9' {
		last = parts[len(parts)-2]
	}
	return last
}
