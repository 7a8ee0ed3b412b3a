package actors

// gone are the containers that are no more. An order that was sent before its owner
// heard of the end must not make one a second time, for its slot may be another's
// by then, nor have somebody look after what nobody owns. It outlives the
// incarnations of whoever reads it, because an order does.
type gone struct {
	ids    map[string]bool
	oldest []string
}

// goneMax is how many are known: by then an order was handled long ago.
const goneMax = 10_000

func (g *gone) has(id string) bool { return g.ids[id] }

func (g *gone) add(id string) {
	if g.ids[id] {
		return
	}
	g.ids[id] = true
	g.oldest = append(g.oldest, id)
	if len(g.oldest) > goneMax {
		delete(g.ids, g.oldest[0])
		g.oldest = g.oldest[1:]
	}
}
