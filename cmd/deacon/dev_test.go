package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/agent"
)

func TestAnAbandonedDevFolderIsOneWhoseLockNobodyHolds(t *testing.T) {
	temp := t.TempDir()
	held := lockFile(t, filepath.Join(temp, devFolderPrefix+"held"))
	lockFile(t, filepath.Join(temp, devFolderPrefix+"dead")).Close()
	lockFile(t, filepath.Join(temp, "another-program")).Close()
	if err := os.Mkdir(filepath.Join(temp, devFolderPrefix+"young"), 0o700); err != nil {
		t.Fatal(err)
	}
	want := []string{filepath.Join(temp, devFolderPrefix+"dead")}
	for range 2 { // looking must not take the lock
		if got := abandoned(temp); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	held.Close()
}

func lockFile(t *testing.T, folder string) *os.File {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(folder, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	lock, err := os.Create(filepath.Join(folder, "state", "lock"))
	if err == nil {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		t.Fatal(err)
	}
	return lock
}

// What is taken over is removed at the end, so a slip of the pen must not
// name anything else.
func TestOnlyADevFolderCanBeTakenOver(t *testing.T) {
	temp := t.TempDir()
	good := filepath.Join(temp, devFolderPrefix+"x")
	lockFile(t, good).Close()
	lockFile(t, filepath.Join(temp, "home")).Close()
	if got, err := devFolder(good); err != nil || got != good {
		t.Errorf("a dev folder: got %s, %v", got, err)
	}
	for folder, want := range map[string]string{
		filepath.Join(temp, "home"):               "calls its folder deacon-dev-",
		filepath.Join(temp, devFolderPrefix+"no"): "there is no state",
	} {
		if _, err := devFolder(folder); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", folder, err, want)
		}
	}
}

func TestAFolderWithContainersIsKept(t *testing.T) {
	folder := filepath.Join(t.TempDir(), devFolderPrefix+"x")
	container := filepath.Join(folder, "state", "containers", "abc")
	if err := os.MkdirAll(container, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := discard(folder); err == nil || !strings.Contains(err.Error(), "1 containers could not be removed") {
		t.Errorf("with a container: %v", err)
	}
	if _, err := os.Stat(container); err != nil {
		t.Error("the record was removed:", err)
	}
	os.Remove(container)
	if err := discard(folder); err != nil {
		t.Error("without one:", err)
	}
	if _, err := os.Stat(folder); !os.IsNotExist(err) {
		t.Error("the folder is still there:", err)
	}
}

func TestTwoDevNodesDoNotShareANetwork(t *testing.T) {
	name := t.Name() // a real one may run on this machine
	first, err := onlyDev(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := onlyDev(name); err == nil || !strings.Contains(err.Error(), "another deacon dev runs") {
		t.Errorf("a second one: got %v", err)
	}
	first.Close()
	again, err := onlyDev(name)
	if err != nil {
		t.Fatal("after the first has ended:", err)
	}
	again.Close()
}

func TestADevNodeServesWardensClientsWhereItIsTold(t *testing.T) {
	s := &session{out: io.Discard, errs: io.Discard}
	t.Chdir(t.TempDir())
	file := filepath.Join(t.TempDir(), "config.hcl")
	const block = "warden {\n  socket = \"/run/w.sock\"\n  mode = \"0700\"\n}\n"
	if err := os.WriteFile(file, []byte(block), 0o600); err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		options      devOptions
		socket, line string
	}{
		"nowhere":     {},
		"by the flag": {devOptions{warden: "/tmp/warden.sock"}, "/tmp/warden.sock", "sudo deacon warden"},
		"by the configuration": {
			devOptions{config: file}, "/run/w.sock", "sudo deacon warden --socket /run/w.sock",
		},
		"by the flag, which wins": {
			devOptions{config: file, warden: "x"}, here + "/x", "sudo deacon warden --socket " + here + "/x",
		},
	} {
		t.Run(name, func(t *testing.T) {
			config, err := s.devConfig(test.options)
			if err != nil {
				t.Fatal(err)
			}
			if test.socket == "" {
				if config.Warden != nil {
					t.Errorf("got %+v", config.Warden)
				}
				return
			}
			if config.Warden.Socket != test.socket || config.Warden.Rootfs.Name != agent.HostStack {
				t.Errorf("got %+v", config.Warden)
			}
			if got := wardenLine("deacon", config.Warden.Socket, config.Warden.Mode); got != test.line {
				t.Errorf("the hint is %q, want %q", got, test.line)
			}
		})
	}
}
