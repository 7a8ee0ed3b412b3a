package sim

import "slices"

// shrink looks for fewer operations that go wrong as well: a trace that is short
// enough to be read. Most of a history has nothing to do with its end.
func shrink(p plan) plan {
	kept := make([]int, len(p.ops))
	for i := range kept {
		kept[i] = i
	}
	for size := len(kept) / 2; size > 0; {
		shrunk := false
		for from := 0; from < len(kept); {
			fewer := slices.Delete(slices.Clone(kept), from, min(from+size, len(kept)))
			if play(only(p, fewer), noTrace).wrong == "" {
				from += size
				continue
			}
			kept, shrunk = fewer, true
		}
		if !shrunk || size > len(kept) {
			size /= 2
		}
	}
	return only(p, kept)
}

// only is the plan with some of its operations.
func only(p plan, kept []int) plan {
	p.keep = map[int]bool{}
	for _, i := range kept {
		p.keep[i] = true
	}
	return p
}
