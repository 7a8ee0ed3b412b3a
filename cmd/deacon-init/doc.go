// Command deacon-init is PID 1 of every container, in its second mode the
// launcher that clones such PID 1s for the agent, and in its third what a job is
// until its program is executed, on cgroup v2 and where it has limits of its own.
//
//	deacon-init pid1 <slot>           descriptor 3: the gate
//	deacon-init launcher              descriptor 3: the agent, 4: this program
//	deacon-init job                   descriptor 3: PID 1
//
// PID 1's life:
//
//	gate ──EOF──▶ exit          the agent died in the middle of a start
//	  │ Setup
//	  ▼
//	finish from the inside: root, binds, dev, proc, sys, masks, host name, link
//	  │
//	  ▼
//	serve: start jobs, reap, write exit records, bound output files, stop
//
// It outlives any number of agents and of jobs: of those that have ended it keeps
// how the last did, and the output that somebody may still write to. It has one
// container's memory to pay for, hence almost no imports: no fmt, no net, no JSON.
package main
