package stacks

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

var (
	seedFlag   = flag.Uint64("stacks.seed", 0, "seed of the moments to kill at; 0: drawn")
	killsFlag  = flag.Int("stacks.kills", 6, "how many imports to kill")
	buildsFlag = flag.Int("stacks.builds", 0, "how many builds to kill over their whole length; one is killed early in any case")
)

// killed is what is begun only to be killed.
const killed = "killed"

// earlyMax is how far the build may come that every run of the tests kills; a
// whole one takes as long as all else together.
const earlyMax = 8 * time.Second

// rolled are the dice that every moment is drawn with.
func rolled(t *testing.T) *rand.Rand {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("again: -stacks.seed %d -stacks.kills %d -stacks.builds %d", seed, *killsFlag, *buildsFlag)
	return rand.New(rand.NewPCG(seed, 0))
}

// killEarly kills the first build. What it fetched is in the cache, for the next.
func (s *stage) killEarly(dice *rand.Rand) {
	s.t.Helper()
	s.killAfter(s.building(killed), rig.StartBeyond, killing{time.Duration(dice.Int64N(int64(earlyMax))), dice.IntN(2) == 0})
}

// isKilled kills commands at drawn moments: all their processes, or only the one
// that was typed, whose children then have to go by themselves.
func (s *stage) isKilled(t *testing.T, dice *rand.Rand, built time.Duration) {
	s = &stage{t, s.folder, s.config, s.cache}
	began := time.Now()
	s.run("import", killed, filepath.Join(s.folder, "layout"))
	imported := time.Since(began)
	s.run("remove", killed)
	for i := range *killsFlag + *buildsFlag {
		command, start, most := s.command("import", killed, filepath.Join(s.folder, "layout")), (*exec.Cmd).Start, imported
		if i >= *killsFlag {
			command, start, most = s.building(killed), rig.StartBeyond, built
		}
		s.killAfter(command, start, killing{time.Duration(dice.Int64N(int64(most))), i%2 == 0})
	}
}

// killing is when something is killed, and whether alone.
type killing struct {
	after time.Duration
	alone bool
}

func (s *stage) killAfter(command *exec.Cmd, start func(*exec.Cmd) error, k killing) {
	s.t.Helper()
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := start(command); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	target := -command.Process.Pid
	if k.alone {
		target = command.Process.Pid
	}
	select {
	case <-time.After(k.after):
		if err := unix.Kill(target, unix.SIGKILL); err != nil && err != unix.ESRCH {
			s.t.Fatal(err)
		}
		<-ended
	case <-ended: // it was faster than the first
	}
	s.noProcess()
	l := s.list()
	s.t.Logf("killed %s after %s, alone: %t; whole: %d, left: %+v", command.Args[2], k.after.Round(time.Millisecond),
		k.alone, len(l.Stacks), l.Unfinished)
	for _, stack := range l.Stacks {
		if stack.Fault != "" {
			s.t.Errorf("%s is damaged: %s", stack.Name, stack.Fault)
		}
		if stack.Name == killed {
			s.run("verify", killed)
		}
	}
	s.noMount()
	// Whatever changes anything clears up, and the name can be had.
	if slices.ContainsFunc(l.Stacks, func(stack struct{ Name, Fault, Digest string }) bool { return stack.Name == killed }) {
		s.run("remove", killed)
	} else {
		s.refused("there is no such stack", "remove", killed)
	}
	left, err := filepath.Glob(filepath.Join(s.state(), "stacks", ".[a-z]*"))
	if err != nil || len(left) > 0 {
		s.t.Errorf("left behind is %q, %v", left, err)
	}
}

// noProcess wants nobody to work on the stack any more; the kernel may take a
// moment to kill what was in a namespace.
func (s *stage) noProcess() {
	s.t.Helper()
	var left []string
	for deadline := time.Now().Add(soon); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		left = nil
		lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, file := range lines {
			line, err := os.ReadFile(file)
			if err == nil && bytes.Contains(line, []byte(".new-"+killed)) {
				left = append(left, file+": "+string(bytes.ReplaceAll(line, []byte{0}, []byte(" "))))
			}
		}
		if len(left) == 0 {
			return
		}
	}
	s.t.Errorf("still at work are %q", left)
}

// noMount wants nothing mounted below the stacks, here or where the tests were
// started.
func (s *stage) noMount() {
	s.t.Helper()
	for _, process := range []string{"self", "1"} {
		table, err := os.ReadFile("/proc/" + process + "/mountinfo")
		if err != nil || strings.Contains(string(table), filepath.Join(s.state(), "stacks")) {
			s.t.Errorf("mounted is:\n%s%v", table, err)
		}
	}
}
