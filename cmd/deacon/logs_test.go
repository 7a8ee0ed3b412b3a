package main

import (
	"testing"
	"time"

	"github.com/deacon-agent/deacon/messaging"
)

func line(stream, text string, second int) messaging.LogLine {
	return messaging.LogLine{Instance: "i", Stream: stream, Text: []byte(text),
		At: time.Date(2026, 1, 1, 0, 0, second, 0, time.UTC)}
}

func TestALineThatWasShownIsNotShownAgain(t *testing.T) {
	past := shown([]messaging.LogLine{
		line("stdout", "one", 1), line("stdout", "two", 2), line("stdout", "three", 2), line("stderr", "oops", 1),
	})
	for _, c := range []struct {
		line messaging.LogLine
		want bool
	}{
		{line("stdout", "one", 1), true},
		{line("stdout", "two", 2), true},
		{line("stdout", "four", 2), false}, // in the same moment, but not read then
		{line("stdout", "two", 3), false},  // the same words again
		{line("stderr", "oops", 2), false}, // another stream has another horizon
		{messaging.LogLine{Instance: "other", Stream: "stdout", At: line("", "", 1).At}, false},
	} {
		if got := past.has(c.line); got != c.want {
			t.Errorf("%s %q at %s: got %t", c.line.Stream, c.line.Text, c.line.At, got)
		}
	}
}

func TestLogsOfANameAreThoseOfWhatRunsOrElseOfTheLast(t *testing.T) {
	at := func(second int) time.Time { return time.Unix(int64(second), 0) }
	crashed := func(id string, second int) row {
		return row{node: "n", InstanceRow: messaging.InstanceRow{Application: id, State: messaging.Crashed, Since: at(second)}}
	}
	running := row{node: "n", InstanceRow: messaging.InstanceRow{Application: "live", State: messaging.Running, Since: at(1)}}

	if got := applications(newest([]row{crashed("a", 5), running, crashed("b", 9)})); len(got) != 1 || got[0] != "live" {
		t.Errorf("with one that runs: %v", got)
	}
	if got := applications(newest([]row{crashed("a", 5), crashed("b", 9)})); len(got) != 1 || got[0] != "b" {
		t.Errorf("with none: %v", got)
	}
}
