// Package agent is the composition root: the one place where the parts meet.
//
//	config.hcl ─▶ Config ─┐
//	                      ├─▶ Run: state, store, box, output, bus, tree ─▶ signal ─▶ the same, backwards
//	state folder ─────────┘
//
// It turns the configuration into each part's own words, what was asked into
// what a container is made of (Planner), and keeps what should run (store). It
// decides when the agent begins and ends, and nothing in between.
//
// Run is crash-only: start-up is recovery, always. What a former agent left in
// the state folder and in the kernel is adopted or removed before the node takes
// its first command.
package agent
