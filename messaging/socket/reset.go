package socket

// Reset sends every client away: what they wait for was forgotten, and who
// refers to which container too. They come back and ask again.
func (d *Door) Reset() {
	for _, c := range d.everybody() {
		c.leave()
	}
}
