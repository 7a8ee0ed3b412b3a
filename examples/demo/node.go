package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	readyMax = 60 * time.Second
	endMax   = 90 * time.Second
)

// node is a running `deacon dev`, and what it said of itself when it was ready.
type node struct {
	Node   string `json:"node"`
	NATS   string `json:"nats"`
	Folder string `json:"folder"`

	process *exec.Cmd
	said    *bufio.Reader
	log     journal
	ended   chan struct{}
}

// journal keeps what the node logs, for the case that something fails.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// startNode runs deacon dev out of reach of the terminal's Ctrl-C, so that the
// demo decides on the order of things at the end; should the demo be killed,
// the kernel passes a signal on.
func startNode(program string) (*node, error) {
	fmt.Println("$ deacon dev")
	n := &node{process: exec.Command(program, "dev", "--json"), ended: make(chan struct{})}
	n.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	n.process.Stderr = &n.log
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	n.process.Stdout, n.said = in, bufio.NewReader(out)
	err = n.process.Start()
	in.Close()
	if err != nil {
		return nil, err
	}
	go func() {
		n.process.Wait()
		close(n.ended)
	}()
	return n, nil
}

func (n *node) awaitReady(ctx context.Context) error {
	line := make(chan error, 1)
	go func() {
		text, err := n.said.ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(text, n)
		}
		line <- err
	}()
	select {
	case err := <-line:
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("the node ended before it was ready:\n%s", n.log.String())
		}
		return err
	case <-time.After(readyMax):
		return fmt.Errorf("the node is not ready after %s:\n%s", readyMax, n.log.String())
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stop ends the node as Ctrl-C would.
func (n *node) stop() error {
	n.process.Process.Signal(syscall.SIGINT)
	select {
	case <-n.ended:
	case <-time.After(endMax):
		n.process.Process.Kill()
		return fmt.Errorf("the node has not ended after %s:\n%s", endMax, n.log.String())
	}
	if code := n.process.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("the node ended with %d:\n%s", code, n.log.String())
	}
	if _, err := os.Stat(n.Folder); n.Folder != "" && err == nil {
		return fmt.Errorf("the node left its folder %s", n.Folder)
	}
	return nil
}

func (d *demo) program() string { return filepath.Join(d.bin, "deacon") }

// deacon shows a command, runs it and shows its output.
func (d *demo) deacon(ctx context.Context, arguments ...string) (string, error) {
	fmt.Println("$ deacon", strings.Join(arguments, " "))
	out, err := d.quietly(ctx, arguments...)
	fmt.Print(out)
	return out, err
}

// quietly runs a command of deacon's against the demo's node.
func (d *demo) quietly(ctx context.Context, arguments ...string) (string, error) {
	command := exec.CommandContext(ctx, d.program(), arguments...)
	command.Env = append(os.Environ(), "DEACON_NATS="+d.node.NATS)
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	var errs bytes.Buffer
	command.Stderr = &errs
	out, err := command.Output()
	if err != nil {
		return string(out), fmt.Errorf("deacon %s: %w\n%s\nthe node's log:\n%s",
			strings.Join(arguments, " "), err, errs.String(), d.node.log.String())
	}
	return string(out), nil
}

// leftovers lists what the node left in the kernel.
func (d *demo) leftovers() []string {
	if d.node.Node == "" {
		return nil // it never was one
	}
	out, err := exec.Command(filepath.Join(d.bin, "leftovers"), "-node", d.node.Node, "-state", d.node.Folder).Output()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok { // which says that there is something
		return []string{fmt.Sprintf("nobody knows what: %v", err)}
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' })
}
