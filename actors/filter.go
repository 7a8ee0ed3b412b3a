package actors

import (
	"slices"

	"github.com/deacon-agent/deacon/messaging"
)

// selects says whether a filter selects an instance: every part that is given
// must hold, an empty list is no filter (wire/dea.md a.3).
func selects(f messaging.Filter, r Record) bool {
	state, _ := r.Outward()
	return r.Start.Application == f.Application &&
		(f.Version == "" || f.Version == r.Start.Version) &&
		among(f.Instances, r.Named()) && among(f.Indices, r.Start.Index) && among(f.States, string(state))
}

func among[T comparable](wanted []T, got T) bool {
	return len(wanted) == 0 || slices.Contains(wanted, got)
}
