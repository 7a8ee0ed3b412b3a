package rig

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// BinariesEnv names a folder that holds deacon and deacon-init already built;
// without it the rig builds them once per test process.
const BinariesEnv = "DEACON_BIN"

var built struct {
	sync.Mutex
	folder string
	made   bool // the folder is the rig's own
	names  map[string]bool
}

// others are programs of other versions, built once per test process.
var others struct {
	sync.Mutex
	folder string
}

// Binary returns the path of a program of this tree, built from cmd/<name>.
func Binary(t testing.TB, name string) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if built.folder == "" {
		if err := chooseFolder(); err != nil {
			t.Fatal("rig: a folder for binaries:", err)
		}
	}
	if built.made && !built.names[name] {
		if err := Build(built.folder, "./cmd/"+name); err != nil {
			t.Fatal("rig: build:", err)
		}
		built.names[name] = true
	}
	return filepath.Join(built.folder, name)
}

func chooseFolder() (err error) {
	if built.folder = os.Getenv(BinariesEnv); built.folder != "" {
		return nil
	}
	built.made, built.names = true, map[string]bool{}
	built.folder, err = os.MkdirTemp("", "dcn-rig-bin-")
	return err
}

// OtherVersion returns the path of an agent whose version of the protocol between
// agents and PID 1s is another (isolation/initproto): tag is deacon_past or
// deacon_future. Its deacon-init is beside it.
func OtherVersion(t testing.TB, tag string) string {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("SKIPPED: there is no compiler here, and programs of another version are made by one")
	}
	others.Lock()
	defer others.Unlock()
	if others.folder == "" {
		var err error
		if others.folder, err = os.MkdirTemp("", "dcn-rig-bin-"); err != nil {
			t.Fatal("rig: a folder for binaries:", err)
		}
	}
	folder := filepath.Join(others.folder, tag)
	if _, err := os.Stat(folder); err == nil {
		return filepath.Join(folder, "deacon")
	}
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal("rig: build:", err)
	}
	for _, name := range []string{"deacon", "deacon-init"} {
		if err := Build(folder, "./cmd/"+name, "-tags", tag); err != nil {
			t.Fatal("rig: build:", errors.Join(err, os.RemoveAll(folder)))
		}
	}
	return filepath.Join(folder, "deacon")
}

// Build compiles a main package of this module, statically, into folder.
func Build(folder, pkg string, flags ...string) error {
	arguments := append([]string{"build", "-trimpath", "-ldflags", "-s -w", "-o", folder + "/"}, flags...)
	build := exec.Command("go", append(arguments, pkg)...)
	build.Dir = Root()
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	return nil
}

// Root is the module's top folder: tests run in their package's folder, and
// go.mod is above it.
func Root() string {
	folder, err := os.Getwd()
	for err == nil && folder != "/" {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder
		}
		folder = filepath.Dir(folder)
	}
	panic("rig: no go.mod above the working directory")
}

func removeBinaries() {
	if others.folder != "" {
		os.RemoveAll(others.folder)
	}
	if built.made {
		os.RemoveAll(built.folder)
	}
}
