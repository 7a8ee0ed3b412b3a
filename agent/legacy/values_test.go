package legacy_test

import (
	"net/netip"

	"github.com/google/go-cmp/cmp"
)

// values compares what has no exported fields.
var values = cmp.Options{
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
}
