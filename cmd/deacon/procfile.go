package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// webProcess is the process type that gets a port and a route.
const webProcess = "web"

// procfileMax bounds a Procfile: one that is longer is something else.
const procfileMax = 64 << 10

// process is one line of a Procfile.
type process struct{ kind, command string }

var procfileLine = regexp.MustCompile(`^([A-Za-z0-9_-]+):\s*(\S.*)$`)

// readProcfile reads folder/Procfile. A folder without one has no processes.
func readProcfile(folder string) ([]process, error) {
	name := filepath.Join(folder, "Procfile")
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseProcfile(name, text)
}

func parseProcfile(name string, text []byte) ([]process, error) {
	if len(text) > procfileMax {
		return nil, fmt.Errorf("%s: %d bytes; at most %d are read", name, len(text), procfileMax)
	}
	var processes []process
	number := 0
	for line := range bytes.Lines(text) {
		number++
		trimmed := strings.TrimSpace(string(line))
		if trimmed == "" || strings.HasPrefix(trimmed, "#") {
			continue
		}
		parts := procfileLine.FindStringSubmatch(trimmed)
		if parts == nil {
			return nil, fmt.Errorf("%s:%d: want \"type: command\", got %q", name, number, trimmed)
		}
		for _, p := range processes {
			if p.kind == parts[1] {
				return nil, fmt.Errorf("%s:%d: process type %q is there twice", name, number, p.kind)
			}
		}
		processes = append(processes, process{kind: parts[1], command: parts[2]})
	}
	return processes, nil
}

// chooseProcess picks the process that wanted names or, where it names none,
// web, or else the only one.
func chooseProcess(processes []process, wanted string) (process, error) {
	var kinds []string
	for _, p := range processes {
		if p.kind == wanted || wanted == "" && p.kind == webProcess {
			return p, nil
		}
		kinds = append(kinds, p.kind)
	}
	switch {
	case len(processes) == 0:
		return process{}, errors.New("there is no Procfile that says how to start it")
	case wanted != "":
		return process{}, fmt.Errorf("the Procfile has no process type %q; it has %s", wanted, strings.Join(kinds, ", "))
	case len(processes) == 1:
		return processes[0], nil
	default:
		return process{}, fmt.Errorf("the Procfile has no process type web; choose one of %s by --process",
			strings.Join(kinds, ", "))
	}
}
