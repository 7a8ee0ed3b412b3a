package settings

import (
	"net/netip"

	"github.com/hashicorp/hcl/v2"
)

// Address reads an IPv4 address.
func (r *Reader) Address(a *hcl.Attribute, into *netip.Addr) {
	v, ok := r.Word(a, "an IPv4 address")
	if !ok {
		return
	}
	if addr, ok := r.addressOf(a, v); ok {
		*into = addr
	}
}

// Addresses reads a list of them.
func (r *Reader) Addresses(a *hcl.Attribute, into *[]netip.Addr) {
	list, ok := r.Texts(a)
	if !ok {
		return
	}
	*into = nil
	for _, given := range list {
		if addr, ok := r.addressOf(a, given); ok {
			*into = append(*into, addr)
		}
	}
}

func (r *Reader) addressOf(a *hcl.Attribute, given string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(given)
	if err != nil || !addr.Is4() {
		r.Fault(a, "Not an IPv4 address", "%q: %q is not an IPv4 address such as \"192.0.2.1\".", a.Name, given)
		return netip.Addr{}, false
	}
	return addr, true
}

// Prefix reads an IPv4 network.
func (r *Reader) Prefix(a *hcl.Attribute, into *netip.Prefix) {
	v, ok := r.Word(a, "an IPv4 network")
	if !ok {
		return
	}
	if prefix, ok := r.prefixOf(a, v); ok {
		*into = prefix
	}
}

// Prefixes reads a list of them.
func (r *Reader) Prefixes(a *hcl.Attribute, into *[]netip.Prefix) {
	list, ok := r.Texts(a)
	if !ok {
		return
	}
	*into = nil
	for _, given := range list {
		if prefix, ok := r.prefixOf(a, given); ok {
			*into = append(*into, prefix)
		}
	}
}

func (r *Reader) prefixOf(a *hcl.Attribute, given string) (netip.Prefix, bool) {
	prefix, err := netip.ParsePrefix(given)
	switch addr, addrErr := netip.ParseAddr(given); {
	case err != nil && addrErr == nil && addr.Is4():
		r.Fault(a, "Not a network", "%q: %q has no length. Did you mean %q?", a.Name, given, given+"/32")
		return netip.Prefix{}, false
	case err != nil || !prefix.Addr().Is4():
		r.Fault(a, "Not a network", "%q: %q is not an IPv4 network such as \"10.254.0.0/16\".", a.Name, given)
		return netip.Prefix{}, false
	case prefix != prefix.Masked():
		r.Fault(a, "Not a network", "%q: %q has bits set beyond its length. Did you mean %q?",
			a.Name, given, prefix.Masked().String())
		return netip.Prefix{}, false
	}
	return prefix, true
}
