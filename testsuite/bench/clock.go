package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// byteMax is how long an application may take to say that it is there.
const byteMax = 20 * time.Second

// moment is a reading of CLOCK_MONOTONIC in nanoseconds: the one clock that the
// applications in their containers share with this program.
type moment int64

func now() moment {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err) // every Linux has it
	}
	return moment(t.Nano())
}

func (m moment) since(earlier moment) time.Duration { return time.Duration(m - earlier) }

// parseMoment reads what the application wrote as its first line.
func parseMoment(line string) (moment, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the application's first line is %q", line)
	}
	return moment(n), nil
}

// voice is the pipe that an application speaks into.
type voice struct {
	read  *os.File
	write *os.File // the application's end; closed here once it has it
	lines *bufio.Reader
}

func newVoice() (*voice, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return &voice{read: r, write: w, lines: bufio.NewReader(r)}, nil
}

// firstByte waits for the application's first line.
func (v *voice) firstByte() (moment, error) {
	v.write.Close()
	v.read.SetReadDeadline(time.Now().Add(byteMax))
	line, err := v.lines.ReadString('\n')
	if err != nil {
		return 0, fmt.Errorf("no first byte: %w", err)
	}
	return parseMoment(line)
}

// silence waits until nobody is left who could speak: every process that the
// pipe was given to is dead.
func (v *voice) silence() error {
	v.read.SetReadDeadline(time.Now().Add(byteMax))
	if _, err := io.Copy(io.Discard, v.lines); err != nil {
		return fmt.Errorf("the application lives on: %w", err)
	}
	return nil
}

func (v *voice) close() {
	v.write.Close()
	v.read.Close()
}
