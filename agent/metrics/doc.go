// Package metrics is what Prometheus is told of the node: docs/metrics.md has each
// metric, and a test keeps that list equal to what is registered here.
//
// What changes by itself is read when somebody asks (collect.go); only durations of
// steps are kept as they happen, in histograms (steps.go). An instance's series end
// with it, and there are never more than there are slots.
package metrics
