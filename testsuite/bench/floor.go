package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
)

// floor is the bare-kernel program, which waits for its turns.
type floor struct {
	shop    *workshop
	row     string
	scratch string
	started int
	asks    io.WriteCloser
	answers *bufio.Reader
}

// floorOptions: three cgroups with limits, a link with address and route,
// overlay "volatile", the child joins its cgroups by itself, user namespace.
var floorOptions = []string{"-q", "-C", "3", "-N", "2", "-v", "-t", "-U"}

func newFloor(s *stand, shop *workshop, row, folder string) *floor {
	f := &floor{shop: shop, row: row, scratch: filepath.Join(folder, "floor-scratch")}
	s.must(os.Mkdir(f.scratch, 0o755))
	cmd := f.command("-S", "-L", "--", "/bin/ready")
	asks, err := cmd.StdinPipe()
	s.must(err)
	answers, err := cmd.StdoutPipe()
	s.must(err)
	s.must(cmd.Start())
	f.asks, f.answers = asks, bufio.NewReader(answers)
	s.Cleanup(func() {
		asks.Close() // it removes its cgroups and ends
		if err := cmd.Wait(); err != nil {
			s.Error("floor:", err)
		}
	})
	return f
}

// command runs the program on a network of its own.
func (f *floor) command(args ...string) *exec.Cmd {
	// No two of them share a cgroup: one removes it when it ends.
	f.started++
	cgroup := fmt.Sprintf("%s-floor-%s-%d", group, filepath.Base(filepath.Dir(f.scratch)), f.started)
	args = append([]string{"-r", f.shop.rootfs, "-s", f.scratch, "-b", cgroup}, args...)
	cmd := exec.Command(f.shop.floor, append(append([]string{}, floorOptions...), args...)...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	return cmd
}

// The two rows: upper folders where all rows keep their files, and in memory.
const (
	floorName = "bare-kernel floor"
	diskless  = "bare-kernel floor, without a disk"
)

func (f *floor) name() string { return f.row }

func (f *floor) trial() (trial, error) {
	if _, err := f.asks.Write([]byte("\n")); err != nil {
		return trial{}, err
	}
	line, err := f.answers.ReadString('\n')
	if err != nil {
		return trial{}, errors.New("it ended")
	}
	return parseFloor(line)
}

// parseFloor reads "<first byte> <gone> <step>=<took> ...", in nanoseconds.
func parseFloor(line string) (trial, error) {
	var figures []time.Duration
	t := trial{}
	for _, word := range strings.Fields(line) {
		name, text, isStep := strings.Cut(word, "=")
		if !isStep {
			text = name
		}
		took, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return trial{}, fmt.Errorf("it says %q: %w", line, err)
		}
		if isStep {
			t.steps = append(t.steps, isolation.Timing{Step: name, Took: time.Duration(took)})
		} else {
			figures = append(figures, time.Duration(took))
		}
	}
	if len(figures) != 2 {
		return trial{}, fmt.Errorf("it says %q", line)
	}
	t.firstByte, t.gone = figures[0], figures[1]
	return t, nil
}

// rate makes many containers at once and reads the last line, which ends with
// "<n> in <s> s = <rate> /s".
func (f *floor) rate(b batch) (float64, error) {
	out, err := f.command("-n", strconv.Itoa(b.total), "-w", strconv.Itoa(b.inFlight), "--", "/bin/true").Output()
	if err != nil {
		return 0, err
	}
	words := strings.Fields(string(out))
	if len(words) < 2 || words[len(words)-1] != "/s" {
		return 0, fmt.Errorf("it says %q", out)
	}
	return strconv.ParseFloat(words[len(words)-2], 64)
}
