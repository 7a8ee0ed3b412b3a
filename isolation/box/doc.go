// Package box turns an isolation.Spec into a running container and takes it
// back. It is the one place that knows the order of the kernel's objects:
//
//	intent record                          state/containers/<id>/spec
//	   │
//	   ├─ clone PID 1 (launcher)           all namespaces at once, behind a gate
//	   │     ├─ veth + table elements      need its network namespace
//	   │     └─ shifted layers, overlay    need its user namespace
//	   ├─ jobs' cgroups with limits
//	   └─ upper folder with its quota
//	   │
//	set-up message through the gate        with every descriptor, and the first job
//
// Nothing here is remembered that a successor could not find again: the spec
// on disk names everything, PID 1 answers on its socket with id and epoch, and
// what the kernel frees by itself (namespaces, detached mounts, links) is left
// to it. Every step of taking down may be repeated.
//
// Destroying comes in two halves. Destroy returns when every process is dead
// and mapped ports refuse; Release does what costs grace periods, in batches
// and off the request path, and only then may the slot be used again.
package box
