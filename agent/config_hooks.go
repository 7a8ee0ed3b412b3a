package agent

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/agent/settings"
)

// Hooks are what the node's operator has run in every application's container.
type Hooks struct {
	Paths     map[actors.Moment]string // of scripts on the node; nil: none
	PostSetup string                   // bash, read by every start script as its last word
	Timeout   time.Duration            // how long anybody waits for a script
	// Scripts are the files' texts, once Resolve has read them.
	Scripts map[actors.Moment]string
}

// hookMax bounds a script, and what every start script has of PostSetup: each
// goes to PID 1 with an environment, in one message.
const hookMax = 64 << 10

const hookTimeoutMax = 10 * time.Minute

type hooksBlock struct {
	BeforeStart *hcl.Attribute `hcl:"before_start,optional"`
	AfterStart  *hcl.Attribute `hcl:"after_start,optional"`
	BeforeStop  *hcl.Attribute `hcl:"before_stop,optional"`
	AfterStop   *hcl.Attribute `hcl:"after_stop,optional"`
	PostSetup   *hcl.Attribute `hcl:"post_setup,optional"`
	Timeout     *hcl.Attribute `hcl:"hook_timeout,optional"`
}

func (b *hooksBlock) read(r *settings.Reader, h *Hooks) {
	attributes := map[actors.Moment]*hcl.Attribute{
		actors.BeforeStart: b.BeforeStart, actors.AfterStart: b.AfterStart,
		actors.BeforeStop: b.BeforeStop, actors.AfterStop: b.AfterStop,
	}
	for _, moment := range actors.Moments {
		var path string
		if r.Path(attributes[moment], &path); path == "" {
			continue
		}
		if h.Paths == nil {
			h.Paths = map[actors.Moment]string{}
		}
		h.Paths[moment] = path
	}
	r.Text(b.PostSetup, &h.PostSetup)
	if err := checkScript(h.PostSetup); err != nil {
		r.Fault(b.PostSetup, "Not a script", "\"post_setup\" %s.", err)
	}
	r.Duration(b.Timeout, &h.Timeout, time.Second, hookTimeoutMax)
}

// load reads every script. A node that can't run what its operator wants doesn't
// start; what becomes of the files later changes nothing for it.
func (h *Hooks) load() error {
	h.Scripts = nil
	for _, m := range actors.Moments {
		path, wanted := h.Paths[m]
		if !wanted {
			continue
		}
		script, err := readScript(path)
		if err != nil {
			return fmt.Errorf("agent: hooks.%s: %w", m, err)
		}
		if h.Scripts == nil {
			h.Scripts = map[actors.Moment]string{}
		}
		h.Scripts[m] = script
	}
	return nil
}

// readScript never waits: what is no file may have nobody at its other end.
func readScript(path string) (string, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("there is no file %s on this machine", path)
	}
	if err != nil {
		return "", err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is no file", path)
	}
	text, err := io.ReadAll(io.LimitReader(file, hookMax+1))
	if err != nil {
		return "", err
	}
	if err := checkScript(string(text)); err != nil {
		return "", fmt.Errorf("%s %w", path, err)
	}
	return string(text), nil
}

func checkScript(text string) error {
	switch {
	case len(text) > hookMax:
		return fmt.Errorf("has more than %d bytes", hookMax)
	case strings.ContainsRune(text, 0):
		return errors.New("has a zero byte")
	}
	return nil
}
