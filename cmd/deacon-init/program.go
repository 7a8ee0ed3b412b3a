package main

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// execute starts argv as a child of this process.
func execute(argv []string, attributes *syscall.ProcAttr) (int, error) {
	program := locate(argv[0], attributes.Env)
	if program == "" {
		return 0, unix.ENOENT
	}
	return syscall.ForkExec(program, argv, attributes)
}

// locate says which file a program's name is; "" is none.
func locate(name string, env []string) string {
	if strings.Contains(name, "/") {
		return name
	}
	return search(name, env)
}

// search finds a program by its name in the PATH of env: the first file that
// somebody may execute. Whether the job's user may is told by its execve. An
// element that isn't absolute depends on the job's folder and ends the search.
func search(name string, env []string) string {
	path := ""
	for _, pair := range env {
		if value, found := strings.CutPrefix(pair, "PATH="); found {
			path = value
		}
	}
	for folder := range strings.SplitSeq(path, ":") {
		if !strings.HasPrefix(folder, "/") {
			return ""
		}
		candidate := folder + "/" + name
		var st unix.Stat_t
		if unix.Stat(candidate, &st) == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR && st.Mode&0o111 != 0 {
			return candidate
		}
	}
	return ""
}
