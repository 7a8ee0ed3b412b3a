package messaging

// FirstEra is what only starts of the wire's first era say (wire/dea.md a.2).
type FirstEra struct {
	Runtime   string   `json:"runtime"` // by the name that the node has for it; empty: none
	Framework string   `json:"framework"`
	Users     []string `json:"users"`
	Debug     string   `json:"debug"`   // the mode: "run", "suspend"; empty: none
	Console   bool     `json:"console"` // a port for one is wanted
}

// Runtime is the name of the runtime that a start asks for; empty: none, as in
// every era but the first.
func (s StartInstance) Runtime() string {
	if s.First == nil {
		return ""
	}
	return s.First.Runtime
}

// Suspended says that the application waits for a debugger before it begins.
func (s StartInstance) Suspended() bool { return s.First != nil && s.First.Debug == "suspend" }
