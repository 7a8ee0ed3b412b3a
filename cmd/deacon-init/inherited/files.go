// Package inherited knows what this process was started with and the standard
// library changes before main begins: package os raises the soft limit of
// files. Packages begin in the order of their paths as far as their imports
// allow, so this one, which may import nothing that imports os, comes first.
package inherited

import "syscall"

// Files is the limit of files that the process was started with; zero where the
// kernel didn't say.
var Files syscall.Rlimit

func init() { _ = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &Files) }
