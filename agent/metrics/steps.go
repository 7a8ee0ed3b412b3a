package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// stepBuckets reach from a system call to a machine in trouble: a container is made
// in about 3 ms, and most of its steps take less than one.
var stepBuckets = []float64{
	0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30,
}

// steps are the durations of what is done to the kernel.
type steps struct {
	took   *prometheus.HistogramVec
	failed *prometheus.CounterVec
	// known keeps each step's own histogram: to find it by its labels takes longer
	// than to observe.
	known sync.Map // of stepName to prometheus.Observer
}

type stepName struct{ operation, step string }

var stepLabels = []string{"operation", "step"}

func newSteps() *steps {
	return &steps{
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "deacon_isolation_step_seconds", Buckets: stepBuckets,
			Help: "How long a step of an operation on the kernel took; the step whole is the operation.",
		}, stepLabels),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "deacon_isolation_step_failures_total",
			Help: "Steps of operations on the kernel that failed.",
		}, stepLabels),
	}
}

func (s *steps) observe(operation, step string, took time.Duration, failed bool) {
	name := stepName{operation, step}
	known, ok := s.known.Load(name)
	if !ok {
		known, _ = s.known.LoadOrStore(name, s.took.WithLabelValues(operation, step))
		s.failed.WithLabelValues(operation, step) // told of as 0 before it happens
	}
	known.(prometheus.Observer).Observe(took.Seconds())
	if failed {
		s.failed.WithLabelValues(operation, step).Inc()
	}
}
