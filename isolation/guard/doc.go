// Package guard lists what a container's jobs may not do: the capabilities
// that are left to a root inside, and the paths of /proc and /sys that are
// hidden or read-only. deacon-init imports it, so it holds lists and nothing
// else; the system-call filter is compiled by the agent (guard/filter).
package guard
