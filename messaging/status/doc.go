// Package status is the door for whoever watches the node, by HTTP:
//
//	/healthz   "ok", or 503 with the reason while the node takes no commands
//	/varz      what a DEA told of itself (wire/dea.md a.11), for who knows the password
//	/metrics   Prometheus' format, or OpenMetrics where that is asked for
//
// It decides nothing and knows nothing of the node: what it shows is asked of
// whoever opened it. Nothing can be changed through it. Each request and each
// connection is bounded in size and time, and Close leaves nothing behind.
package status
