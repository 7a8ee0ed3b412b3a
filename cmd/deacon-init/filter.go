package main

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// instructionSize is sizeof(struct sock_filter).
const instructionSize = 8

// installFilter puts the compiled program on the calling thread.
func installFilter(program []byte) error {
	if len(program) == 0 || len(program)%instructionSize != 0 {
		return unix.EINVAL
	}
	fprog := unix.SockFprog{
		Len:    uint16(len(program) / instructionSize),
		Filter: (*unix.SockFilter)(unsafe.Pointer(&program[0])),
	}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&fprog)))
	if errno != 0 {
		return errno
	}
	return nil
}
