package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/peterh/liner"
)

// history is the lines that were typed, in this session and those before it.
// They are kept where XDG wants state to be; each is added at once, so that
// several shells can share the file, and none is lost with a shell.
type history struct {
	path  string // empty: there is no place for it
	lines []string
}

// openHistory reads what there is. What can't be read is no history, and no
// reason not to start.
func openHistory() history {
	folder := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(folder) { // the specification's rule
		home, err := os.UserHomeDir()
		if err != nil {
			return history{}
		}
		folder = filepath.Join(home, ".local", "state")
	}
	h := history{path: filepath.Join(folder, "deacon", "warden-history")}
	text, err := os.ReadFile(h.path)
	if err != nil {
		return h
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimRight(line, "\r\n"); line != "" && utf8.ValidString(line) {
			h.lines = append(h.lines, line)
		}
	}
	if len(h.lines) > 2*liner.HistoryLimit {
		h.lines = h.lines[len(h.lines)-liner.HistoryLimit:]
		h.shorten()
	}
	return h
}

// shorten writes the lines to a new file in the old one's place. If that fails
// the file stays long, and the next shell tries.
func (h history) shorten() {
	fresh := h.path + ".new"
	if err := os.WriteFile(fresh, []byte(strings.Join(h.lines, "\n")+"\n"), 0o600); err != nil {
		return
	}
	if err := os.Rename(fresh, h.path); err != nil {
		os.Remove(fresh)
	}
}

// add keeps a line.
func (h history) add(line string) error {
	if h.path == "" {
		return nil
	}
	const flags = os.O_WRONLY | os.O_APPEND | os.O_CREATE
	file, err := os.OpenFile(h.path, flags, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(h.path), 0o700); err != nil {
			return err
		}
		file, err = os.OpenFile(h.path, flags, 0o600)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(file, line)
	return errors.Join(err, file.Close())
}
