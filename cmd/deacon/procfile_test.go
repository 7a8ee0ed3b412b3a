package main

import (
	"strings"
	"testing"
)

func TestAProcfileHasOneProcessALine(t *testing.T) {
	got, err := parseProcfile("Procfile", []byte("# how to start it\nweb: exec ./hello -v: x\r\n\nworker:./work\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []process{{"web", "exec ./hello -v: x"}, {"worker", "./work"}}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAWrongProcfileSaysWhere(t *testing.T) {
	for text, want := range map[string]string{
		"web: a\nnothing":          `Procfile:2: want "type: command", got "nothing"`,
		"web: a\nweb: b":           `Procfile:2: process type "web" is there twice`,
		"web:":                     `Procfile:1: want "type: command"`,
		strings.Repeat("#", 70000): "at most 65536 are read",
	} {
		if _, err := parseProcfile("Procfile", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: got %v, want %q", text, err, want)
		}
	}
}

func TestTheProcessIsWebOrTheOnlyOneOrTheOneThatWasNamed(t *testing.T) {
	web, work, clock := process{"web", "a"}, process{"worker", "b"}, process{"clock", "c"}
	for _, c := range []struct {
		have   []process
		wanted string
		want   string // the kind, or what the error has to say
	}{
		{[]process{work, web}, "", "web"},
		{[]process{work}, "", "worker"},
		{[]process{work, web}, "worker", "worker"},
		{[]process{work, clock}, "", "worker, clock"},
		{[]process{web}, "wrker", `no process type "wrker"; it has web`},
		{nil, "", "no Procfile"},
	} {
		p, err := chooseProcess(c.have, c.wanted)
		got := p.kind
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%v, %q: got %q, want %q", c.have, c.wanted, got, c.want)
		}
	}
}

func TestSizesHaveUnits(t *testing.T) {
	for text, want := range map[string]mebibytes{"256": 256, "256M": 256, "256MiB": 256, "2G": 2048, "1GiB": 1024} {
		var m mebibytes
		if err := m.Set(text); err != nil || m != want {
			t.Errorf("%s: got %d, %v", text, m, err)
		}
	}
	for _, text := range []string{"", "M", "0", "-1M", "1.5G", "1T", "256MB", "9999999999999999G", "1073741825"} {
		var m mebibytes
		if err := m.Set(text); err == nil {
			t.Errorf("%q was taken as %d", text, m)
		}
	}
}
