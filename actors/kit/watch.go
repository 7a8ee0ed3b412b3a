package kit

import "slices"

// watcher is one Watch.
type watcher struct {
	in   *incarnation // whose it is
	post func()
}

func (w watcher) tell(target *cell) {
	w.in.mu.Lock()
	ended := w.in.ended
	delete(w.in.watched, target)
	w.in.mu.Unlock()
	if !ended {
		w.post()
	}
}

// Watch posts gone() to c once the actor has stopped for good: stopped, given
// up, or gone with its parent's incarnation; at once if it is gone already or
// was never there. It comes after everything that the actor told c.
func Watch[M, P any](c *Context[P], ref Ref[M], gone func() P) {
	in := c.in
	w := watcher{in, func() {
		in.cell.post(&letter[P]{to: in.number, make: func() (P, bool) { return gone(), true }})
	}}
	if ref.cell == nil {
		w.post()
		return
	}
	if !in.addWatched(ref.cell) {
		return
	}
	if !ref.cell.addWatcher(w) {
		w.tell(ref.cell)
	}
}

func (in *incarnation) addWatched(target *cell) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.ended {
		return false
	}
	if in.watched == nil {
		in.watched = map[*cell]struct{}{}
	}
	in.watched[target] = struct{}{}
	return true
}

// addWatcher says whether the actor is still there to be watched.
func (c *cell) addWatcher(w watcher) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return false
	}
	c.watchers = append(c.watchers, w)
	return true
}

// forget drops the watches of an incarnation that has ended.
func (c *cell) forget(in *incarnation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watchers = slices.DeleteFunc(c.watchers, func(w watcher) bool { return w.in == in })
}
