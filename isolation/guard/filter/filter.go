package filter

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// namespaceFlags are the clone flags that would make a namespace. A container
// that nests containers inside is an attack surface nobody asked for.
const namespaceFlags = unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER |
	unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP

// personas are the personalities that plain programs ask for; all ones reads it.
var personas = []uint32{0, 0x8, 0x20000, 0x20008, 0xffffffff}

// Offsets of struct seccomp_data. Of the arguments here the kernel itself looks
// at no more than the lower half, so the filter must not look at more either:
// whatever stood in the upper half would get past it.
const (
	offsetNumber = 0
	offsetArch   = 4
	offsetArg0   = 16 // its lower half, on little-endian machines
)

// What a call comes to.
var (
	allow   = []bpf.Instruction{bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}}
	refuse  = []bpf.Instruction{bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)}}
	unknown = []bpf.Instruction{bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)}}
)

// Compile makes the program: an array of struct sock_filter in the machine's
// byte order. What is on no list fails with EPERM; a call that is newer than
// the lists with ENOSYS, and clone3 too, because its flags can't be looked at:
// to that every libc knows an answer.
func Compile() ([]byte, error) {
	instructions, err := assemble()
	if err != nil {
		return nil, fmt.Errorf("filter: %w", err)
	}
	raw, err := bpf.Assemble(instructions)
	if err != nil {
		return nil, fmt.Errorf("filter: %w", err)
	}
	var program []byte
	for _, in := range raw {
		program = binary.NativeEndian.AppendUint16(program, in.Op)
		program = append(program, in.Jt, in.Jf)
		program = binary.NativeEndian.AppendUint32(program, in.K)
	}
	return program, nil
}

func assemble() ([]bpf.Instruction, error) {
	known, err := arch.GetInfo("")
	if err != nil {
		return nil, err
	}
	numbers := maps.Clone(known.SyscallNames)
	maps.Copy(numbers, newer)
	search := tree(spans(verdicts(numbers), uint32(slices.Max(slices.Collect(maps.Values(numbers))))))
	start := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offsetArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(known.ID), SkipTrue: 1},
		refuse[0],
		bpf.LoadAbsolute{Off: offsetNumber, Size: 4},
	}
	return append(start, search...), nil
}

// newer are the calls that the library's tables don't have yet. Numbers from
// 424 on are the same on every architecture.
var newer = map[string]int{
	"cachestat": unix.SYS_CACHESTAT, "fchmodat2": unix.SYS_FCHMODAT2, "map_shadow_stack": unix.SYS_MAP_SHADOW_STACK,
	"futex_wake": unix.SYS_FUTEX_WAKE, "futex_wait": unix.SYS_FUTEX_WAIT, "futex_requeue": unix.SYS_FUTEX_REQUEUE,
	"mseal": unix.SYS_MSEAL,
}

// verdicts gives every call that isn't refused its piece of program. A call
// that this architecture doesn't have can't be listed.
func verdicts(numbers map[string]int) map[uint32][]bpf.Instruction {
	byName := map[string][]bpf.Instruction{
		"clone3":      unknown,
		"clone":       unless(bpf.JumpBitsSet, namespaceFlags),
		"socket":      unless(bpf.JumpEqual, unix.AF_VSOCK), // it reaches the hypervisor behind the network's back
		"personality": oneOf(personas),
	}
	for name := range strings.FieldsSeq(allowList) {
		byName[name] = allow
	}
	byNumber := map[uint32][]bpf.Instruction{}
	for name, verdict := range byName {
		if number, ok := numbers[name]; ok {
			byNumber[uint32(number)] = verdict
		}
	}
	return byNumber
}

// unless allows a call unless its first argument is as said.
func unless(cond bpf.JumpTest, value uint32) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: offsetArg0, Size: 4},
		bpf.JumpIf{Cond: cond, Val: value, SkipFalse: 1},
		refuse[0], allow[0],
	}
}

// oneOf allows a call whose first argument is one of values.
func oneOf(values []uint32) []bpf.Instruction {
	program := []bpf.Instruction{bpf.LoadAbsolute{Off: offsetArg0, Size: 4}}
	for _, v := range values {
		program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: v, SkipFalse: 1}, allow[0])
	}
	return append(program, refuse[0])
}

// span is a run of numbers, from first to the next span's, with one verdict.
type span struct {
	first   uint32
	verdict []bpf.Instruction
}

// spans covers all numbers there are, in order. Those above last are of calls
// that nobody here has heard of.
func spans(verdicts map[uint32][]bpf.Instruction, last uint32) []span {
	all := []span{{0, refuse}}
	add := func(first uint32, verdict []bpf.Instruction) {
		newest := &all[len(all)-1]
		switch {
		case newest.first == first:
			newest.verdict = verdict
		case !slices.Equal(newest.verdict, verdict):
			all = append(all, span{first, verdict})
		}
	}
	next := uint32(0)
	for _, number := range slices.Sorted(maps.Keys(verdicts)) {
		if number > next {
			add(next, refuse)
		}
		add(number, verdicts[number])
		next = number + 1
	}
	if next <= last {
		add(next, refuse)
	}
	add(last+1, unknown)
	return all
}

// tree makes a binary search of the spans for the number in the accumulator.
func tree(spans []span) []bpf.Instruction {
	if len(spans) == 1 {
		return spans[0].verdict
	}
	half := len(spans) / 2
	below, above := tree(spans[:half]), tree(spans[half:])
	// A conditional jump reaches 255 instructions, a plain one any number.
	program := []bpf.Instruction{
		bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: spans[half].first, SkipFalse: 1},
		bpf.Jump{Skip: uint32(len(below))},
	}
	return append(append(program, below...), above...)
}
