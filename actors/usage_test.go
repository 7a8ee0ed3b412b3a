package actors_test

import (
	"testing"
	"time"

	"github.com/deacon-agent/deacon/messaging"
)

func TestOneAnswerTellsWhatEveryInstanceUses(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.start("web", "serve", "web.example")
		s.start("short", "exit 3 after 1s")
		s.start("worker", "deaf")
		pass(3 * time.Second)
		s.tree.Deliver(messaging.DescribeUsage{ReplyTo: "inbox"})
		pass(time.Second)
		answers := told[messaging.UsageDescribed](s)
		if len(answers) != 1 {
			t.Fatalf("%d answers", len(answers))
		}
		a := answers[0]
		if a.ReplyTo != "inbox" || a.Node.ID != "node-1" || a.Evacuating || a.Since.IsZero() || !a.At.After(a.Since) {
			t.Errorf("the node is %+v", a)
		}
		if want := (messaging.Account{Capacity: 1024, Promised: 128}); a.Memory != want {
			t.Errorf("memory is %+v, want %+v", a.Memory, want)
		}
		rows := map[string]messaging.UsageRow{}
		for _, row := range a.Instances {
			rows[row.Application] = row
		}
		if r := rows["web"]; r.State != messaging.Running || !r.Measured || r.MemoryLimit != 64<<20 || r.MemoryBytes == 0 {
			t.Errorf("web is %+v", r)
		}
		if r := rows["short"]; r.State != messaging.Crashed || r.Measured || r.MemoryBytes != 0 {
			t.Errorf("short is %+v", r)
		}
		s.forget()
		s.evacuate(time.Minute)
		pass(time.Second)
		s.tree.Deliver(messaging.DescribeUsage{ReplyTo: "inbox"})
		pass(time.Second)
		if a := told[messaging.UsageDescribed](s); len(a) != 1 || !a[0].Evacuating {
			t.Errorf("a node that is evacuated: %+v", a)
		}
	})
}
