// Command bench measures deacon, its peers and the bare kernel in one run and
// says whether deacon's limits of speed and size hold.
//
//	go run ./testsuite/bench [-rounds N] [-json FILE]
//
// # What is measured
//
// Rows take turns: in each round every row makes one container, waits for the
// application's first byte and takes the container away; which row begins moves
// on by one each round. Before every start the machine is left idle for 60 ms
// or more: a loop without a pause hides what costs an RCU grace period, which is
// most of what makes containers slow. Times of different runs can't be compared
// on a machine that others use; the ratios within one run can, so nearly all
// limits are ratios.
//
// The application is the same static C program for every row (floor/ready.c).
// Its first bytes are the moment at which it writes them, on CLOCK_MONOTONIC,
// which all namespaces share. A start is timed from before the first thing that
// is done for it (a system call, the spawn of a command line, a NATS message)
// until that moment; so a row pays for everything up to the application and
// nothing for how its reader is woken.
//
// # The rows
//
//   - bare-kernel floor: floor/floor.c, one C program that makes a container by
//     system calls: all namespaces with a user namespace, three cgroups with
//     limits, an overlay, veth, address and route. It runs all the time and makes
//     a container when asked, as an agent would. Its upper folders are where all
//     rows have theirs; a second row has them in memory and shows what the file
//     system's part is.
//   - bwrap: the same namespaces, but no limits and no link, so it does less.
//   - runc, crun: the default specification of `runc spec` with a network
//     namespace that is wired by the CNI bridge plugin (ipMasq); made, wired and
//     entered in the order in which container engines do it. What would make them
//     slower and isn't needed for the comparison is left out: no user namespace,
//     no overlay, no mapped port, no loopback plugin, no seccomp filter, and but
//     for throughput no cgroup mount. crun refuses a hybrid cgroup tree; it is started from a thread whose
//     mount namespace lacks the v2 part.
//   - deacon box alone: isolation/box in this process, default limits and safety
//     on: user namespace, seccomp, disk quota, links, masquerading, a mapped port
//     and the node's default rules.
//   - deacon agent: the real agent as a process of its own, its configuration's
//     defaults but for room and a log that tells the steps. A start is timed from
//     before dea.<id>.start is published; the droplet is cached, and the
//     application is started as every application is. "beyond the box" is what
//     the box does not account for: NATS, actors and records. An end is timed from before dea.stop is
//     published, so it has the application's own end in it.
//
// Taking a container of ours away is timed until every process that was in it is
// dead and a connection to its mapped port is refused; all three are checked.
// The peers' figure is their own kill and CNI's DEL until the application's
// output is closed, for comparison only.
//
// Throughput is 100 containers that run /bin/true and are removed, 16 at a time,
// back to back; for the box until the last slot may be used again. The agent is
// asked for 100 starts at once and keeps 16 in flight by itself; its clock stops
// at the last one's first byte. runc and crun have a network namespace of their
// own there, and nothing in it, and else what `runc spec` proposes, the mount of the
// cgroups too: so the figure was taken that the limit is made of. That mount is up
// to a seventh of what runc does, so another row leaves it out. The median of three
// turns counts.
//
// # Noise
//
// Of everything here the file system is disturbed most by other work: the same
// floor took 3.2 ms in memory and 4 to 10 ms on an ext4 that others wrote to, in
// the same minutes. A slow floor flatters whoever is compared with it. So a
// limit in floors that would hold is called NOISY, and does not count as holding,
// when the floor took more than 4.5 ms. Run again when the machine is quiet, or
// with TMPDIR on a file system in memory, which changes the ground for all rows
// alike (and is the stricter measure: there is less for us to hide behind).
//
// # Memory
//
// It is looked at with 200 idle containers running: the agent's, and the median
// of all deacon-inits. "0.72 MB" is taken as 720 KiB, because 718 KiB is what was
// measured for the least Go program that can be PID 1.
//
// # What it does to the machine
//
// Everything happens in a network and a mount namespace of its own, made by
// re-executing this program: bridges, links, iptables and nftables rules end with
// it, and no packet can leave. Cgroups are named deacon-bench*, and deacon-<tag>
// for the box; folders are below one temporary folder. All are removed.
package main
