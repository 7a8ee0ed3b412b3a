//go:build !deacon_past && !deacon_future

package initproto

// Version is this side's version of the protocol. It grows when a message
// gains a meaning that the other side must know of.
//
//	1
//	2  a job has any resource limits; a greeting tells of ended jobs only the
//	   last: how others ended is on record alone
//	3  a job may be a session: it has a terminal, is signalled, and is hung up with
//	   the connection that asked for it
//
// Messages as each version wrote them are in testdata, and are read for ever.
const Version = 3

// Needs is the oldest version that an agent must speak to do with this PID 1
// what has to be done. It grows only when an old agent would do harm: then the
// old one leaves the container alone, and can't even destroy it.
const Needs = 0
