package e2e

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// BenchmarkWatching says what it costs to look at a node with 500 instances, on the
// machine's own kernel:
//
//	go test -run - -bench Watching -benchtime 1x ./testsuite/e2e
//
// A scrape each 11 s beside heartbeats and offers is what a node bears all the time.
func BenchmarkWatching(b *testing.B) {
	const many = 500
	c := newCrowd(b, many, statusConfig)
	component := c.ctl.Expect("vcap.component.announce", soon).Body
	look := func(path string) time.Duration {
		begun := time.Now()
		if code, body := see(b, component, path); code != 200 {
			b.Fatal(path, code, body)
		}
		return time.Since(begun)
	}
	find := func(n int) time.Duration {
		begun := time.Now()
		question := fmt.Appendf(nil, `{"droplet":"crowd","indices":[%d],"include_stats":true}`, n%many)
		answer, err := c.ctl.Conn.Request("dea.find.droplet", question, soon)
		if err != nil || !strings.Contains(string(answer.Data), `"stats"`) {
			b.Fatal(err, string(answer.Data))
		}
		return time.Since(begun)
	}
	for range max(1, b.N) {
		var scrapes, finds, beside, lists []time.Duration
		spent := c.spent()
		for range 5 {
			time.Sleep(1100 * time.Millisecond) // a report is told again for a second
			scrapes = append(scrapes, look("/metrics"))
		}
		b.ReportMetric(milliseconds(c.spent()-spent)/5, "ms-cpu/scrape")
		for n := range 1000 {
			finds = append(finds, find(n))
		}
		leave := watching(b, component)
		for begun, n := time.Now(), 0; time.Since(begun) < 5*time.Second; n++ {
			beside = append(beside, find(n))
		}
		leave()
		for range 20 {
			begun := time.Now()
			if _, err := c.ctl.Conn.Request("deacon.v1.ps", []byte("{}"), soon); err != nil {
				b.Fatal(err)
			}
			lists = append(lists, time.Since(begun))
		}
		spent = c.spent()
		begun := time.Now()
		for range 2 {
			time.Sleep(11 * time.Second)
			look("/metrics")
		}
		b.ReportMetric(100*float64(c.spent()-spent)/float64(time.Since(begun)), "%-of-a-core")
		report := func(what string, took []time.Duration) {
			slices.Sort(took)
			b.ReportMetric(milliseconds(took[len(took)/2]), "ms-"+what+"-p50")
			b.ReportMetric(milliseconds(took[len(took)*99/100]), "ms-"+what+"-p99")
		}
		report("scrape", scrapes)
		report("find", finds)
		report("find-beside-varz", beside)
		report("ps", lists)
	}
}

// watching asks for /varz about each second, until the watcher leaves.
func watching(b *testing.B, component map[string]any) (leave func()) {
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-over:
				return
			case <-time.After(1100 * time.Millisecond):
				see(b, component, "/varz")
			}
		}
	}()
	return func() {
		close(over)
		<-done
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / 1e6 }

// spent is the agent's time on a processor so far.
func (c *crowd) spent() time.Duration {
	c.t.Helper()
	body, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.node.PID()))
	if err != nil {
		c.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(body), ") ")
	fields := strings.Fields(rest)
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}
