package sweep

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// Somebody else may kill whom the tracer is just taking hold of: neither may the
// tracer wait for ever, nor may the dead stay unburied.
func TestWhoeverIsKilledWhileTheTracerTakesHoldIsBuried(t *testing.T) {
	seed := seedOf(t)
	draw := rand.New(rand.NewPCG(seed, 9))
	tracer := startTracer(t)
	for range 200 {
		victim := startPart(t, TracerEnv+"=1") // any program of several threads
		time.AfterFunc(time.Duration(draw.IntN(1500))*time.Microsecond, func() { victim.process.Process.Kill() })
		err := tracer.trace([]Target{{Role: agent, PID: victim.pid()}})
		if err == nil {
			_, err = tracer.traced()
		}
		if err != nil && !strings.Contains(err.Error(), errGone.Error()) {
			t.Fatalf("seed %d: %v", seed, err)
		}
		victim.end()
	}
}
