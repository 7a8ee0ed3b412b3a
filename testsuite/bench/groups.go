package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// removeGroups removes a cgroup of this program's, and what is below, in every
// hierarchy.
func removeGroups(s *stand, name string) {
	s.Helper()
	found, err := filepath.Glob("/sys/fs/cgroup/*/" + name)
	s.must(err)
	for _, top := range found {
		var folders []string
		filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				folders = append(folders, path)
			}
			return nil
		})
		for _, folder := range slices.Backward(folders) {
			// A plain rmdir: a cgroup's files can't be removed, and needn't.
			if err := os.Remove(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
				s.Error("a cgroup stays:", err)
			}
		}
	}
}
