// Package directory is the door to the files of applications' instances: HTTP,
// for whoever has a link that this node has signed (wire/dea.md e).
//
//	GET /instance_paths/<instance>?hmac=..&path=..&timestamp=..
//
// A folder is answered with a line for each entry, a file with its content, or
// the ranges of it that were asked for. With "tail" a file is followed from its
// end, or from tail_offset on, until it is renamed or removed, or nothing came for
// a while.
//
// The door checks the signature and its age. Which instance may be looked into,
// and where its files are, it asks of Files; what that opened is all it serves. It
// knows no names of the node's.
//
// Everything is bounded: connections, followers, how long a request may take to
// come, how long a client may take for a piece of the answer.
package directory
