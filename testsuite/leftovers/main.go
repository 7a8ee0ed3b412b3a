// Command leftovers lists what nodes left on this machine: in the kernel, and
// as temporary folders. It ends with 1 if there is anything. With -node it
// looks for one node's traces only; without it, a node that runs on purpose is
// listed too, because nothing tells the two apart.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/deacon-agent/deacon/isolation/slot"
	"github.com/deacon-agent/deacon/testsuite/rig"
)

func main() {
	node := flag.String("node", "", "id of the node whose traces are looked for")
	state := flag.String("state", "", "its state folder")
	flag.Parse()
	var left []string
	if *node != "" {
		left = rig.Traces{Tag: slot.TagOf(*node), State: *state}.Leftovers()
	} else {
		left = append((rig.Traces{}).Leftovers(), folders()...)
	}
	for _, line := range left {
		fmt.Println(line)
	}
	if len(left) > 0 {
		os.Exit(1)
	}
}

// folders are the temporary ones of nodes, tests and droplets under way.
func folders() []string {
	var left []string
	for _, pattern := range []string{"deacon-*", "dcn-*"} {
		found, _ := filepath.Glob(filepath.Join(os.TempDir(), pattern))
		for _, folder := range found {
			left = append(left, "folder "+folder)
		}
	}
	return left
}
