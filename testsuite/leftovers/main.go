// Command leftovers lists what nodes left on this machine: in the kernel, and
// as temporary folders. It ends with 1 if there is anything. A node that runs
// on purpose is listed too, because nothing tells the two apart.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

func main() {
	left := (rig.Traces{}).Leftovers()
	for _, pattern := range []string{"deacon-*", "dcn-*"} {
		folders, _ := filepath.Glob(filepath.Join(os.TempDir(), pattern))
		for _, folder := range folders {
			left = append(left, "folder "+folder)
		}
	}
	for _, line := range left {
		fmt.Println(line)
	}
	if len(left) > 0 {
		os.Exit(1)
	}
}
