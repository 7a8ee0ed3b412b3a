package settings

import (
	"net/netip"

	"github.com/hashicorp/hcl/v2"
)

// Address reads an IPv4 address.
func (r *Reader) Address(a *hcl.Attribute, into *netip.Addr) {
	if given, ok := r.Word(a, "an IPv4 address"); ok {
		one(a, given, r.addressOf, into)
	}
}

// Addresses reads a list of them.
func (r *Reader) Addresses(a *hcl.Attribute, into *[]netip.Addr) {
	list(r, a, r.addressOf, into)
}

// one reads what a word stands for.
func one[T any](a *hcl.Attribute, given string, of func(*hcl.Attribute, string) (T, bool), into *T) {
	if value, ok := of(a, given); ok {
		*into = value
	}
}

// list reads what each word of a list stands for.
func list[T any](r *Reader, a *hcl.Attribute, of func(*hcl.Attribute, string) (T, bool), into *[]T) {
	all, ok := r.Texts(a)
	if !ok {
		return
	}
	*into = nil
	for _, given := range all {
		if value, ok := of(a, given); ok {
			*into = append(*into, value)
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
	if given, ok := r.Word(a, "an IPv4 network"); ok {
		one(a, given, r.prefixOf, into)
	}
}

// Prefixes reads a list of them.
func (r *Reader) Prefixes(a *hcl.Attribute, into *[]netip.Prefix) {
	list(r, a, r.prefixOf, into)
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
