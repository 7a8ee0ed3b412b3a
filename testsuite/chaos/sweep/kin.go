package sweep

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

func processOf(tid int) int { return statusField(tid, "Tgid:\t") }
func parentOf(pid int) int  { return statusField(pid, "PPid:\t") }

func statusField(tid int, field string) int {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	_, rest, _ := strings.Cut(string(status), field)
	line, _, _ := strings.Cut(rest, "\n")
	number, _ := strconv.Atoi(line)
	return number
}

// childrenOf are the processes that one bore, in the order of their births as far
// as one thread bore them.
func childrenOf(pid int) (all []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		children, _ := os.ReadFile(list)
		for child := range strings.FieldsSeq(string(children)) {
			if found, err := strconv.Atoi(child); err == nil {
				all = append(all, found)
			}
		}
	}
	return all
}

// launcherOf finds the launcher among an agent's children; 0: it has none.
func launcherOf(agent int) int {
	for _, child := range childrenOf(agent) {
		if name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", child)); string(name) == "deacon-init\n" {
			return child
		}
	}
	return 0
}
