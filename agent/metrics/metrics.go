package metrics

import (
	"context"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/bus"
)

// Sources are asked at each scrape, from before there is anything to tell of.
type Sources struct {
	Ready    func() error
	Report   func(context.Context) messaging.Report
	Actors   func() []kit.Standing
	Failures func() map[string]kit.Tally
	Bus      func() (stats bus.Stats, ok bool)
	Pressure func() ([]isolation.Stall, error)
}

// scrapeMax is how long a scrape may take, what it measures included.
const scrapeMax = 10 * time.Second

// Metrics is a node's registry.
type Metrics struct {
	registry *prometheus.Registry
	steps    *steps
	log      hclog.Logger
}

// New makes a registry that asks sources.
func New(sources Sources, log hclog.Logger) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), steps: newSteps(), log: log}
	m.registry.MustRegister(
		&collector{sources: sources, log: log}, m.steps.took, m.steps.failed,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Handler answers scrapes, in OpenMetrics where that is asked for.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog:      m.log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Warn}),
		ErrorHandling: promhttp.ContinueOnError, EnableOpenMetrics: true, Timeout: scrapeMax,
	})
}

// Took is told of each step's duration, by box.
func (m *Metrics) Took(operation, step string, took time.Duration, failed bool) {
	m.steps.observe(operation, step, took, failed)
}

// Gather is a scrape, for tests.
func (m *Metrics) Gather() prometheus.Gatherer { return m.registry }
