package guard

import "golang.org/x/sys/unix"

// Capabilities are what a job keeps in its bounding set: what a container's
// root needs to own files, change users and bind low ports. A job of another
// user has none, because changing the user drops them.
//
// Not among them: everything that reaches beyond the container even from
// inside a user namespace (SYS_ADMIN, NET_ADMIN, SYS_PTRACE, SYS_MODULE,
// SYS_RESOURCE, MKNOD, NET_RAW and the rest).
var Capabilities = []int{
	unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_FSETID, unix.CAP_KILL,
	unix.CAP_SETGID, unix.CAP_SETUID, unix.CAP_SETPCAP, unix.CAP_SETFCAP, unix.CAP_NET_BIND_SERVICE,
	unix.CAP_SYS_CHROOT, unix.CAP_AUDIT_WRITE,
}

// CapabilityLast is the highest capability that may exist; dropping one that
// doesn't is EINVAL, which ends the loop.
const CapabilityLast = 63

// MaskedFiles read as empty: they tell of the node, not of the container.
var MaskedFiles = []string{
	"proc/kcore", "proc/keys", "proc/key-users", "proc/latency_stats", "proc/timer_list", "proc/timer_stats",
	"proc/sched_debug", "proc/kmsg", "proc/kallsyms", "proc/interrupts", "proc/sysrq-trigger",
}

// MaskedFolders read as empty and can't be written.
var MaskedFolders = []string{
	"proc/acpi", "proc/scsi", "proc/asound", "sys/firmware", "sys/devices/virtual/powercap", "sys/fs",
}

// ReadOnlyFolders show what they have and take nothing.
var ReadOnlyFolders = []string{"proc/sys", "proc/irq", "proc/bus", "proc/fs"}
