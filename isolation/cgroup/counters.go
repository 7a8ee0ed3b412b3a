package cgroup

import (
	"fmt"
	"strconv"
	"strings"
)

func readText(dir, file string) (string, error) {
	content, err := read(dir, file)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(content)), nil
}

// readNumber reads a file with one number; "max" reads as 0.
func readNumber(dir, file string) (int64, error) {
	text, err := readText(dir, file)
	if err != nil || text == "max" {
		return 0, err
	}
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("cgroup: %s/%s: %w", dir, file, err)
	}
	return number, nil
}

// readFields reads a file of "name number" lines.
func readFields(dir, file string) (map[string]int64, error) {
	content, err := read(dir, file)
	if err != nil {
		return nil, err
	}
	fields := map[string]int64{}
	for line := range strings.Lines(string(content)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if number, err := strconv.ParseInt(value, 10, 64); err == nil {
			fields[name] = number
		}
	}
	return fields, nil
}

func readProcesses(dir string) ([]int, error) {
	content, err := read(dir, "cgroup.procs")
	if err != nil {
		return nil, err
	}
	var pids []int
	for field := range strings.FieldsSeq(string(content)) {
		if pid, err := strconv.Atoi(field); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
