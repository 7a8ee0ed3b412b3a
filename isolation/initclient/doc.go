// Package initclient is the agent's side of a container's PID 1: the gate that
// a new one waits at, and the connection to init.sock by which any agent finds
// a living one again.
package initclient
