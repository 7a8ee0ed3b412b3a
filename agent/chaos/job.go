package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/deacon-agent/deacon/isolation"
)

var jobKilled = Fault{
	Name: "job-killed", Harm: One, Shows: killShows,
	Does:      "the application's first process in one container is killed",
	Heals:     "the instance is told as crashed; its controller starts another",
	Available: always,
	Inject: ofOne(func(n *Node, victim isolation.Status) (string, error) {
		pid, err := n.firstProcess(victim)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("process %d", pid), n.kill(pid)
	}),
}

// firstProcess finds the first living job's process by its number inside.
func (n *Node) firstProcess(status isolation.Status) (int, error) {
	folders, err := n.groups(slotOf(status))
	if err != nil {
		return 0, err
	}
	for _, folder := range folders {
		pids, err := members(folder)
		if err != nil {
			return 0, err
		}
		for _, pid := range pids {
			if isJob(pid, status.Jobs) {
				return pid, nil
			}
		}
	}
	return 0, unableError("the container has no living job")
}

// isJob says whether a process is one of the jobs that PID 1 has started.
func isJob(pid int, jobs []isolation.JobStatus) bool {
	body, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return false // it has just ended
	}
	for line := range strings.Lines(string(body)) {
		numbers, ok := strings.CutPrefix(line, "NSpid:")
		if !ok {
			continue
		}
		all := strings.Fields(numbers)
		inside, err := strconv.Atoi(all[len(all)-1])
		for _, job := range jobs {
			if err == nil && job.Exit == nil && job.PID == inside {
				return true
			}
		}
	}
	return false
}
