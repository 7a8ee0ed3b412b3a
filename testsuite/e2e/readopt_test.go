package e2e

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

// crowdConfig has room for the crowd: what is measured is taking it up.
const crowdConfig = `
resources {
  memory_overcommit = 8.0
  disk_overcommit   = 8.0
}
`

// crowd is a node with many instances, and the ports that they answer on.
type crowd struct {
	*stage
	ports []int
}

func newCrowd(t testing.TB, many int, config ...string) *crowd {
	t.Helper()
	s := &stage{t: t, nats: rig.StartNATS(t), blobs: rig.NewDropletServer(t)}
	s.ctl = rig.NewController(t, s.nats.URL)
	s.node = rig.StartNode(t, rig.Options{NATS: s.nats.URL, Config: `disk { pool_size = "8GiB" }` + crowdConfig + strings.Join(config, "")})
	s.meet()
	s.serve = s.blobs.Add("./listener", rig.Program(t, "./testsuite/e2e/listener", "listener"))
	c := &crowd{stage: s}
	for i := range many {
		s.start("crowd", s.serve, map[string]any{
			"index": i, "limits": map[string]any{"mem": 32, "disk": 16, "fds": 64},
		})
	}
	for port := range c.routes(many) {
		c.ports = append(c.ports, port)
	}
	return c
}

// routes waits until as many different routes were registered, and returns when
// each was.
func (c *crowd) routes(many int) map[int]time.Time {
	c.t.Helper()
	told := map[int]time.Time{}
	for len(told) < many {
		seen := c.ctl.Expect("router.register", late)
		if port, _ := seen.Body["port"].(float64); told[int(port)].IsZero() {
			told[int(port)] = seen.At
		}
	}
	return told
}

// visitors ask one port after the other, by a connection of its own each time.
type visitors struct {
	over          chan struct{}
	group         sync.WaitGroup
	asked, failed atomic.Int64
	slowest       atomic.Int64
}

func (c *crowd) visit(many int) *visitors {
	v := &visitors{over: make(chan struct{})}
	for i := range many {
		v.group.Go(func() {
			for n := i; ; n += many {
				select {
				case <-v.over:
					return
				case <-time.After(2 * time.Millisecond):
				}
				begun := time.Now()
				if err := greeted(c.ports[n%len(c.ports)]); err != nil {
					v.failed.Add(1)
					c.t.Error("a visitor was not answered:", err)
				}
				v.asked.Add(1)
				took := int64(time.Since(begun))
				for was := v.slowest.Load(); took > was && !v.slowest.CompareAndSwap(was, took); was = v.slowest.Load() {
				}
			}
		})
	}
	return v
}

func (v *visitors) leave() {
	close(v.over)
	v.group.Wait()
}

// greeted connects, and wants the greeting that the listener sends.
func greeted(port int) error {
	conn, err := net.DialTimeout("tcp", fmt.Sprint("127.0.0.1:", port), 10*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	var greeting [6]byte
	n, err := conn.Read(greeting[:])
	if err == nil && string(greeting[:n]) != "hello\n" {
		err = fmt.Errorf("port %d says %q", port, greeting[:n])
	}
	return err
}

// takingUp is what a successor needed, from its first instruction.
type takingUp struct{ adopted, routed time.Duration }

func (t takingUp) String() string {
	return fmt.Sprintf("all under control after %s, all routes after %s",
		t.adopted.Round(time.Millisecond), t.routed.Round(time.Millisecond))
}

// takeUp kills the agent and has the next one take up all that runs.
func (c *crowd) takeUp() takingUp {
	c.t.Helper()
	c.node.Kill()
	c.ctl.Forget()
	begun := time.Now()
	c.node.Start()
	t := takingUp{adopted: time.Since(begun)}
	for _, at := range c.routes(len(c.ports)) {
		t.routed = max(t.routed, at.Sub(begun))
	}
	return t
}

// The limits are for a machine that does other things too; what it takes on a
// quiet one, BenchmarkTakingUp says.
func TestManyContainersAreTakenUpAtOnceAndNoRequestIsLost(t *testing.T) {
	c := newCrowd(t, 100)
	v := c.visit(4)
	for range 3 {
		took := c.takeUp()
		t.Log(took)
		if took.adopted > 2*time.Second || took.routed > 4*time.Second {
			t.Error("that is too long")
		}
	}
	v.leave()
	t.Logf("%d requests, %d lost, the slowest took %s", v.asked.Load(), v.failed.Load(), time.Duration(v.slowest.Load()))
}

// BenchmarkTakingUp shows how the time grows with the number of containers.
func BenchmarkTakingUp(b *testing.B) {
	for _, many := range []int{100, 250, 500} {
		b.Run(fmt.Sprint(many), func(b *testing.B) {
			c := newCrowd(b, many)
			v := c.visit(4)
			var all []takingUp
			for range max(5, b.N) {
				all = append(all, c.takeUp())
			}
			v.leave()
			var adopted, routed time.Duration
			for _, t := range all {
				b.Log(t)
				adopted, routed = adopted+t.adopted, routed+t.routed
			}
			n := time.Duration(len(all))
			b.ReportMetric(float64((adopted / n).Milliseconds()), "ms-adopted")
			b.ReportMetric(float64((routed / n).Milliseconds()), "ms-routed")
			b.ReportMetric(float64(v.asked.Load()), "requests")
			b.ReportMetric(float64(v.failed.Load()), "lost")
		})
	}
}
