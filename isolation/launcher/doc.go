// Package launcher is the agent's side of the launcher: a small process that
// clones PID 1s with all their namespaces at once (ADR 0004). Nothing depends
// on its life. If it dies, requests under way fail with ErrDied and the caller
// starts another; if the agent dies, it goes.
//
// On cgroup v1 the launcher lives in the node's group for inits, so that every
// PID 1 is born there; on v2 each request names the group to be born in.
package launcher
