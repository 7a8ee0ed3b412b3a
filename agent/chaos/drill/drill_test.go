package drill

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// A node that starts the last victim again right before the drill ends was once
// said not to have: the load had not asked again.
func TestWhoAnswersTheLastQuestionIsBack(t *testing.T) {
	up := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !up {
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	defer server.Close()
	began := time.Now().Add(-20 * time.Second)
	s := Scenario{Duration: 25 * time.Second, Recovery: 45 * time.Second, Load: Load{Timeout: 10 * time.Second}}
	log := &Log{Exits: map[string]int{}, Done: []Done{{
		Fault: "state-flipped", Node: "n", Target: "hello/0", Instance: "i", From: began, To: began.Add(time.Second),
	}}}
	r := &run{
		Drill: &Drill{Scenario: s, Nodes: []string{"n"}}, log: log, began: began,
		keeper: &keeper{targets: &targets{urls: map[string]string{"hello/0": server.URL}}},
	}
	for _, up = range []bool{false, true} {
		why := r.unsteady(view{running: 1})
		j := newJudge(log, s)
		if found := j.notBack(); (len(found) == 0) != up || (why == "") != up {
			t.Errorf("answers: %v; unsteady: %q; found %v", up, why, found)
		}
	}
}
