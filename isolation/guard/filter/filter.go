// Package filter compiles the system-call filter of every job: an allow-list
// that knows arguments where a call is harmless in one form only. The agent
// compiles it once and hands the program to each PID 1 as bytes.
package filter

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// namespaceFlags are the clone flags that would make a namespace. A container
// that nests containers inside is an attack surface nobody asked for.
const namespaceFlags = unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER |
	unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP

// The library's only error is EPERM. An action that the policy doesn't
// otherwise use stands for ENOSYS until encode.
const (
	failEPERM  = seccomp.ActionErrno
	failENOSYS = seccomp.ActionTrace
)

// Compile makes the program: an array of struct sock_filter in the machine's
// byte order. What is on no list fails with EPERM; clone3 with ENOSYS, because
// its flags can't be looked at and every libc falls back to clone.
func Compile() ([]byte, error) {
	known, err := arch.GetInfo("")
	if err != nil {
		return nil, fmt.Errorf("filter: %w", err)
	}
	// A call that this architecture doesn't have can't be listed.
	allowed := slices.DeleteFunc(strings.Fields(allowList), func(name string) bool {
		_, ok := known.SyscallNames[name]
		return !ok
	})
	policy := seccomp.Policy{
		DefaultAction: failEPERM,
		Syscalls: []seccomp.SyscallGroup{
			{Action: failENOSYS, Names: []string{"clone3"}},
			{Action: seccomp.ActionAllow, Names: allowed},
			{Action: seccomp.ActionAllow, NamesWithCondtions: conditional()},
		},
	}
	instructions, err := policy.Assemble()
	if err != nil {
		return nil, fmt.Errorf("filter: assemble: %w", err)
	}
	return encode(instructions)
}

// conditional lists the calls that are allowed in some forms only.
func conditional() []seccomp.NameWithConditions {
	const noFlags = ^uint64(0)
	list := []seccomp.NameWithConditions{
		{Name: "clone", Conditions: seccomp.ArgumentConditions{
			{Argument: 0, Operation: seccomp.BitsNotSet, Value: namespaceFlags}}},
		// No vsock: it reaches the hypervisor behind the network's back.
		{Name: "socket", Conditions: seccomp.ArgumentConditions{
			{Argument: 0, Operation: seccomp.NotEqual, Value: unix.AF_VSOCK}}},
	}
	// The personalities that a plain program asks for, and reading it (all ones).
	for _, persona := range []uint64{0, 0x8, 0x20000, 0x20008, 0xffffffff, noFlags} {
		list = append(list, seccomp.NameWithConditions{Name: "personality",
			Conditions: seccomp.ArgumentConditions{{Argument: 0, Operation: seccomp.Equal, Value: persona}}})
	}
	return list
}

func encode(instructions []bpf.Instruction) ([]byte, error) {
	for i, in := range instructions {
		if in == (bpf.RetConstant{Val: uint32(failENOSYS)}) {
			instructions[i] = bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)}
		}
	}
	raw, err := bpf.Assemble(instructions)
	if err != nil {
		return nil, fmt.Errorf("filter: encode: %w", err)
	}
	var program []byte
	for _, in := range raw {
		program = binary.NativeEndian.AppendUint16(program, in.Op)
		program = append(program, in.Jt, in.Jf)
		program = binary.NativeEndian.AppendUint32(program, in.K)
	}
	return program, nil
}
