package main

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// oomKill is the counter's name in v1's memory.oom_control and v2's memory.events.
var oomKill = []byte("oom_kill ")

// readOOMKills reads the kernel's own count; 0 where it can't be had.
func readOOMKills(counter *os.File) uint64 {
	buffer := make([]byte, 512)
	n, err := unix.Pread(int(counter.Fd()), buffer, 0)
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(buffer[:n]) {
		if rest, ok := bytes.CutPrefix(line, oomKill); ok {
			count, _ := strconv.ParseUint(string(bytes.TrimSpace(rest)), 10, 64)
			return count
		}
	}
	return 0
}
