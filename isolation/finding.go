package isolation

// Finding is something that an audit found otherwise than it had been made, and
// what came of that.
type Finding struct {
	Container string // empty: the node's own
	What      string // what is otherwise, by its name
	Remedy    string // what was done, or is to be done by whom
	// Lost says that the container can't be kept, and was ended.
	Lost bool
}
