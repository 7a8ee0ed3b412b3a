package actors

import (
	"cmp"
	"iter"
	"maps"
	"slices"

	"github.com/deacon-agent/deacon/messaging"
)

// sorted walks a map by its keys: whoever is told of what is in it hears of it
// in the same order each time, so that a history can be played again.
func sorted[K cmp.Ordered, V any](m map[K]V) iter.Seq2[K, V] { return sortedBy(m, cmp.Compare[K]) }

// byAsk is sorted for what clients asked.
func byAsk[V any](m map[messaging.Ask]V) iter.Seq2[messaging.Ask, V] {
	return sortedBy(m, func(a, b messaging.Ask) int {
		return cmp.Or(cmp.Compare(a.Client, b.Client), cmp.Compare(a.Request, b.Request))
	})
}

func sortedBy[K comparable, V any](m map[K]V, order func(a, b K) int) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for _, key := range slices.SortedFunc(maps.Keys(m), order) {
			if !yield(key, m[key]) {
				return
			}
		}
	}
}
