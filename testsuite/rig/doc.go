// Package rig is the ground that whole-node tests and benchmarks stand on: a
// network namespace in place of the machine's, a second one in place of the
// internet, a NATS server in the process, the real agent as a child process
// and a controller that knows nothing but the wire.
//
//	test process (namespace "node") ── embedded NATS ── controller
//	   │                  └── deacon agent (child) ── containers
//	   └─ veth 198.51.100.2 ── 198.51.100.1, 169.254.169.254 (namespace "outside")
//
// Whatever rule of ours fails, no packet can leave the machine: the node's
// namespace has no other way out.
package rig
