package dea

// ChaosSubject is where one node is asked for faults: deacon.v1.<node>.chaos.<verb>,
// which only deacon's own clients do.
func ChaosSubject(nodeID, verb string) string { return ownPrefix + nodeID + ".chaos." + verb }
