// Command deacon is the one binary: the node's agent, and the command line
// that operates nodes through NATS as any controller would.
//
//	agent, dev               run a node (package agent does the work)
//	run, ps, logs, stop,     ask nodes over NATS: messaging/bus carries,
//	events                   messaging/dea spells
//	warden                   make containers by Warden's socket, through
//	                         messaging/warden/client
//	config check, droplet,   need no node
//	version
//
// Nothing here decides what a node does: it holds flags, signals, the choice
// of a node for a new instance (a controller's business) and presentation.
package main
