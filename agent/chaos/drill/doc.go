// Package drill runs a scenario of faults against living nodes, and judges
// them by it:
//
//	scenario.hcl ─▶ Scenario ── seed ─▶ schedule ─▶ director ── orders ──▶ nodes (agent/chaos)
//	                                                   │
//	load: asks every application all the time ────────▶│ log ─▶ judge ─▶ Report ─▶ report.html, JSON
//	watch: heartbeats, states, exits ─────────────────▶│
//	keeper: starts again what crashed, of what it started itself
//
// Nothing is judged while it runs. What happened is written down, with the
// windows in which a fault may be noticed and by whom; at the end everything is
// healed, the nodes are given time to come to rest, and then every request
// outside of a window that could excuse it must have been answered, every
// crash must be explained by a fault and told as an exit, everything that
// should run must run, and nothing more may be there than before.
//
// It is a client like any other: it knows subjects and messages, and nothing of
// how a node works.
package drill
