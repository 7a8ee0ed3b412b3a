//go:build !race

package output

// overhead is by how much the race detector swells what is measured.
const overhead = 1
