package drill

import (
	"reflect"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/agent/chaos"
)

func scenario(t *testing.T, text string) Scenario {
	t.Helper()
	s, err := ParseScenario("test.hcl", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const drawnScenario = `
duration = "10m"
random {
  every   = "5s"
  overlap = 2
  fault "init-killed" { weight = 3 }
  fault "nats-slow" {
    for   = "20s"
    delay = "1s"
  }
}
fault "agent-killed" { at = "1m" }
`

func TestTheSameSeedDrawsTheSameActs(t *testing.T) {
	s := scenario(t, drawnScenario)
	first := s.Schedule(7, 3)
	if len(first) < 50 {
		t.Errorf("only %d acts in ten minutes", len(first))
	}
	if again := s.Schedule(7, 3); !reflect.DeepEqual(first, again) {
		t.Error("the same seed draws something else")
	}
	if other := s.Schedule(8, 3); reflect.DeepEqual(first, other) {
		t.Error("another seed draws the same")
	}
}

func TestASchedulesActsKeepItsRules(t *testing.T) {
	s := scenario(t, drawnScenario)
	for seed := range uint64(50) {
		ids, fixed, kinds := map[string]bool{}, 0, map[string]int{}
		var running []time.Duration // ends of what was drawn
		last := time.Duration(0)
		for _, act := range s.Schedule(seed, 3) {
			if act.At < last || act.At > s.Duration || act.Node < 0 || act.Node > 2 || ids[act.Order.ID] {
				t.Fatalf("seed %d: %+v after %s", seed, act, last)
			}
			last, ids[act.Order.ID] = act.At, true
			kinds[act.Order.Fault]++
			if act.Order.Fault == "agent-killed" {
				fixed++
				continue
			}
			over := 0
			for _, end := range running {
				if end > act.At {
					over++
				}
			}
			if over >= s.Random.Overlap {
				t.Fatalf("seed %d: %d faults at %s", seed, over+1, act.At)
			}
			fault, _ := chaos.Find(act.Order.Fault)
			running = append(running, act.At+max(act.Order.For.Duration(), fault.For))
		}
		if fixed != 1 || kinds["init-killed"] <= kinds["nats-slow"] {
			t.Errorf("seed %d: drawn by weight: %v", seed, kinds)
		}
	}
}

// What can't be remembered could not be judged.
func TestADrillThatAsksTooMuchDoesNotBegin(t *testing.T) {
	l := Load{Every: 10 * time.Millisecond}
	if err := l.fits(100, time.Minute); err != nil {
		t.Error(err)
	}
	if err := l.fits(100, 24*time.Hour); err == nil {
		t.Error("864 million requests are to be remembered")
	}
}
