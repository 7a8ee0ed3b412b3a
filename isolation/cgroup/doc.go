// Package cgroup bounds and measures a container's jobs by control groups. Two
// drivers stand behind one interface, chosen by looking at the machine.
//
//	v1, one tree a controller         v2, one tree
//	<memory>/deacon-<tag>/init        <root>/deacon-<tag>/<name>/init
//	<memory>/deacon-<tag>/<name>      <root>/deacon-<tag>/<name>/jobs
//	<cpu>/deacon-<tag>/…
//
// PID 1 lives beside its jobs' group, never in it, so that neither an
// out-of-memory kill nor a fork bomb takes it. On v1 the launcher lives in the
// node's init group and every PID 1 inherits that; on v2 each is cloned into a
// group of its own. A process never enters a group by cgroup.procs on the way
// of a start: on an idle machine that write costs an RCU grace period, 10 ms.
//
// Nothing here kills, and no group is touched that doesn't carry the node's name.
package cgroup
