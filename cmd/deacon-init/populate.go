package main

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// populate maps all of the program's code now, while nobody waits for it: else
// each page costs a fault when it is first used, in the middle of a start. The
// pages are the one copy of the program that all PID 1s share.
func populate() {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(maps)) {
		span, rest, _ := strings.Cut(line, " ")
		from, to, _ := strings.Cut(span, "-")
		if !strings.HasPrefix(rest, "r-xp") && !strings.HasPrefix(rest, "r--p") {
			continue
		}
		begin, err1 := strconv.ParseUint(from, 16, 64)
		end, err2 := strconv.ParseUint(to, 16, 64)
		if err1 == nil && err2 == nil {
			unix.Syscall(unix.SYS_MADVISE, uintptr(begin), uintptr(end-begin), unix.MADV_POPULATE_READ)
		}
	}
}
