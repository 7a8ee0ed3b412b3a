package main

import (
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation/initproto"
	"github.com/deacon-agent/deacon/isolation/packet"
)

const (
	agentDescriptor   = 3
	programDescriptor = 4
)

// namespaces are all that a container has of its own, made in one clone: the
// user namespace has to be first to own the others.
const namespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWUTS |
	unix.CLONE_NEWIPC | unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP

// launcher clones PID 1s until the agent closes its end or dies. It is a
// process of its own because a clone with a user namespace copies the caller's
// page tables: 61 ms from an agent of 400 MB, a third of one from here.
func launcher() {
	agent, err := packet.New(agentDescriptor)
	if err != nil {
		fail("deacon-init: launcher: " + err.Error())
	}
	// What the agent itself was left with by whoever started it stays here, too.
	unix.CloseRange(programDescriptor, ^uint(0)>>32, unix.CLOSE_RANGE_CLOEXEC)
	go reapAll()
	for {
		message, files, err := agent.Receive()
		if err != nil {
			os.Exit(0) // the agent is gone, or as good as
		}
		// One clone after the other, but nobody waits for another's exec: the
		// agent bounds how many are under way.
		go serveClone(agent, message, files)
	}
}

func serveClone(agent *packet.Conn, message []byte, files []*os.File) {
	answer, pidfd := cloneOne(message, files)
	closeAll(files)
	err := agent.Send(answer.Encode(), pidfd...)
	closeAll(pidfd)
	if err != nil {
		os.Exit(0)
	}
}

// reapAll buries PID 1s; the agent learns of their end by pidfd.
func reapAll() {
	dead := make(chan os.Signal, 1)
	signal.Notify(dead, unix.SIGCHLD)
	for range dead {
		for {
			pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
			if pid <= 0 && err != unix.EINTR {
				break
			}
		}
	}
}

func cloneOne(message []byte, files []*os.File) (initproto.Cloned, []*os.File) {
	request, err := initproto.DecodeClone(message)
	answer := initproto.Cloned{Sequence: request.Sequence}
	wanted := 1
	if request.InGroup {
		wanted = 2
	}
	if err != nil || len(files) != wanted {
		answer.Error = "malformed request"
		return answer, nil
	}
	setSlack(initSlack) // inherited; the launcher has no timers
	pidfd := -1
	pid, err := syscall.ForkExec(programPath(), []string{processName, "pid1", request.Name}, &syscall.ProcAttr{
		Dir:   "/",
		Env:   environment(request),
		Files: []uintptr{^uintptr(0), ^uintptr(0), ^uintptr(0), files[0].Fd()},
		Sys:   attributes(request, files, &pidfd),
	})
	if err != nil {
		answer.Error = "clone: " + err.Error()
		return answer, nil
	}
	answer.PID = uint32(pid)
	return answer, []*os.File{os.NewFile(uintptr(pidfd), "pidfd")}
}

// environment saves memory that is paid for once a container: one thread runs
// Go code at a time, and the heap is collected early. Where PID 1 bears jobs
// itself (cgroup v2) its heap gets no huge pages: it needs half a MB, not two.
func environment(request initproto.Clone) []string {
	env := []string{"GOMAXPROCS=1", "GOGC=25"}
	if request.InGroup {
		env = append(env, "GODEBUG=disablethp=1")
	}
	return env
}

func attributes(request initproto.Clone, files []*os.File, pidfd *int) *syscall.SysProcAttr {
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: int(request.UIDBase), Size: int(request.Size)}}
	attr := &syscall.SysProcAttr{
		Cloneflags:  namespaces,
		UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
		// Without a user of the new namespace the exec would drop every capability.
		Credential: &syscall.Credential{Uid: 0, Gid: 0},
		Setsid:     true,
		PidFD:      pidfd,
	}
	if request.InGroup {
		// PID 1's own view would begin at its group, and where namespaces are
		// delegation boundaries (systemd's mount) it could clone nothing into
		// the one beside it. A job takes its view of the groups itself.
		attr.Cloneflags &^= unix.CLONE_NEWCGROUP
		attr.UseCgroupFD, attr.CgroupFD = true, int(files[1].Fd())
	}
	return attr
}

// programPath is the sealed copy of this program that the agent made.
func programPath() string { return "/proc/self/fd/" + strconv.Itoa(programDescriptor) }

func closeAll(files []*os.File) {
	for _, file := range files {
		file.Close()
	}
}
