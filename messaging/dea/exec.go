package dea

import "strings"

const execSuffix = ".exec"

// ExecSubject is where one node is asked for a command in a container.
func ExecSubject(nodeID string) string { return ownPrefix + nodeID + execSuffix }

// SessionSubject is where the input of one of a node's sessions goes.
func SessionSubject(nodeID, session string) string { return ExecSubject(nodeID) + "." + session }

// IsSession says whether subject is a SessionSubject of some node: a client sends
// what somebody types to nothing else.
func IsSession(subject string) bool {
	i := strings.LastIndexByte(subject, '.')
	return i > 0 && CheckNodeID(subject[i+1:]) == nil && isNodes(subject[:i], ownPrefix, execSuffix)
}
