package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
)

// stand is what testsuite/rig takes for a test: it says what failed and takes
// away what was made, newest first. The methods of testing.TB that neither the
// rig nor this program calls are not there.
type stand struct {
	testing.TB
	ctx      context.Context
	cleanups []func()
	failures []error
}

// ended is the panic that ends the measuring after Fatal.
type ended struct{}

// onStand runs act, and then every cleanup whatever became of it.
func onStand(ctx context.Context, act func(*stand)) error {
	s := &stand{ctx: ctx}
	if err := prepareInside(); err != nil {
		return err
	}
	s.protect(func() { act(s) })
	for len(s.cleanups) > 0 {
		last := s.cleanups[len(s.cleanups)-1]
		s.cleanups = s.cleanups[:len(s.cleanups)-1]
		s.protect(last)
	}
	return errors.Join(s.failures...)
}

// protect calls act and stops the panics that Fatal makes, and no other.
func (s *stand) protect(act func()) {
	defer func() {
		if p := recover(); p != nil && p != (ended{}) {
			panic(p)
		}
	}()
	act()
}

func (s *stand) Helper()                  {}
func (s *stand) Name() string             { return "bench" }
func (s *stand) Context() context.Context { return s.ctx }
func (s *stand) Failed() bool             { return len(s.failures) > 0 }
func (s *stand) Cleanup(act func())       { s.cleanups = append(s.cleanups, act) }

func (s *stand) Error(args ...any) {
	text := shortened(fmt.Sprintln(args...))
	s.failures = append(s.failures, errors.New(text[:len(text)-1]))
}

func (s *stand) Errorf(format string, args ...any) {
	s.Error(fmt.Sprintf(format, args...))
}

func (s *stand) Fatal(args ...any) {
	s.Error(args...)
	panic(ended{})
}

func (s *stand) Fatalf(format string, args ...any) {
	s.Errorf(format, args...)
	panic(ended{})
}

func (s *stand) Log(args ...any) { fmt.Fprint(os.Stderr, shortened(fmt.Sprintln(args...))) }

func (s *stand) Logf(format string, args ...any) { s.Log(fmt.Sprintf(format, args...)) }

// shortened takes the middle out of a text that nobody would read: the log of an
// agent that has started hundreds of containers.
func shortened(text string) string {
	const head, tail = 1000, 5000
	if len(text) <= head+tail {
		return text
	}
	return text[:head] + "\n[...]\n" + text[len(text)-tail:]
}

// must ends the measuring where err says so.
func (s *stand) must(err error) {
	if err != nil {
		s.Fatal(err)
	}
}

// TempDir is short: sockets are made in it, and their paths end at 108 bytes.
func (s *stand) TempDir() string {
	folder, err := os.MkdirTemp("", "dcn-bench-")
	s.must(err)
	s.Cleanup(func() {
		if err := os.RemoveAll(folder); err != nil {
			s.Error("a temporary folder stays:", err)
		}
	})
	return folder
}
