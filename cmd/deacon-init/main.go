// How many processors there are is said by whoever starts this program, so the
// runtime needs no goroutine that looks for another quota each second. (That it
// looks once can't be turned off: containermaxprocs=0 makes it look and compare.)

//go:debug updatemaxprocs=0

package main

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// processName is what the kernel calls every mode; without it they would be
// called after the descriptor that they were executed from.
const processName = "deacon-init"

func init() {
	// The main goroutine keeps the main thread for itself: a job's thread is
	// thrown away in the jobs' cgroups, and the main thread can't be.
	runtime.LockOSThread()
}

func main() {
	name, _ := unix.BytePtrFromString(processName)
	unix.Prctl(unix.PR_SET_NAME, uintptr(pointer(name)), 0, 0, 0)
	if len(os.Args) < 2 {
		fail("deacon-init is started by the agent, not by hand")
	}
	switch os.Args[1] {
	case "pid1":
		pid1()
	case "launcher":
		launcher()
	case "job":
		born()
	default:
		fail("deacon-init: unknown mode " + os.Args[1])
	}
}

// fail is for a program that nobody serves yet.
func fail(text string) {
	os.Stderr.WriteString(text + "\n")
	os.Exit(2)
}
