// Package legacy is what a node does for old habits alone: it reads the
// configuration of a Warden (wire/warden.md h) and writes deacon's own that
// behaves the same, and it keeps the health check and the pid file that a
// Warden's monitors look at.
//
//	linux.yml ─▶ document ─▶ settings ─▶ config.hcl, and notes of what was lost
//	             every fault with its line, all at once
//
// It knows deacon's configuration by its text only: what reads that text also
// judges it.
package legacy
