package dea

import (
	"fmt"
	"net/netip"
	"reflect"

	"github.com/deacon-agent/deacon/messaging"
)

// What an application of the first era was given that asked for nothing (wire/dea.md a.2).
const memoryDefault, diskDefault, filesDefault = 512, 256, 1024

// decodeFirst reads what only the first era's starts have. Its runtime_info is
// not looked at: what a runtime is, the node's own configuration says.
func decodeFirst(m object) *messaging.FirstEra {
	first := messaging.FirstEra{
		Runtime:   m.short("runtime", idMax),
		Framework: m.short("framework", idMax),
		Users:     m.texts("users"),
		Debug:     decodeDebug(m),
		Console:   m.flag("console"),
	}
	if reflect.ValueOf(first).IsZero() {
		return nil
	}
	return &first
}

// decodeDebug reads a mode, or true for the usual one.
func decodeDebug(m object) string {
	raw, ok := m.given("debug")
	switch {
	case !ok || raw[0] == 'f':
		return ""
	case raw[0] == 't':
		return "run"
	}
	return m.short("debug", idMax)
}

// ofFirst says that a start is of the first era, in which less was said.
func ofFirst(m object) bool {
	_, ok := m.given("runtime")
	return ok
}

// firstMessage is the same as encoding/json sees it.
type firstMessage struct {
	Runtime   string   `json:"runtime,omitempty"`
	Framework string   `json:"framework,omitempty"`
	Users     []string `json:"users,omitempty"`
	Debug     string   `json:"debug,omitempty"`
	Console   bool     `json:"console,omitempty"`
}

func first(f *messaging.FirstEra) firstMessage {
	if f == nil {
		return firstMessage{}
	}
	return firstMessage{f.Runtime, f.Framework, f.Users, f.Debug, f.Console}
}

// place is where somebody is let in: an address and a port, or neither.
func place(at netip.AddrPort) (ip string, port uint16) {
	if !at.IsValid() {
		return "", 0
	}
	return at.Addr().String(), at.Port()
}

func placeOf(what, ip string, port uint16) (netip.AddrPort, error) {
	if ip == "" && port == 0 {
		return netip.AddrPort{}, nil
	}
	address, err := netip.ParseAddr(ip)
	if err != nil || port == 0 {
		return netip.AddrPort{}, fmt.Errorf("%s_ip: want an address with a port", what)
	}
	return netip.AddrPortFrom(address, port), nil
}
