package sweep

import "golang.org/x/sys/unix"

// legacy are the calls that newer machines never had.
var legacy = map[uint64]string{
	unix.SYS_FORK: "fork", unix.SYS_VFORK: "vfork", unix.SYS_MKDIR: "mkdir", unix.SYS_RMDIR: "rmdir",
	unix.SYS_RENAME: "rename", unix.SYS_UNLINK: "unlink", unix.SYS_LINK: "link", unix.SYS_SYMLINK: "symlink",
	unix.SYS_MKNOD: "mknod", unix.SYS_CHOWN: "chown", unix.SYS_LCHOWN: "lchown", unix.SYS_CHMOD: "chmod",
	unix.SYS_CREAT: "creat",
}

func legacyStep(c call) (string, bool) {
	if c.number == unix.SYS_OPEN {
		return "open", c.args[1]&(unix.O_CREAT|unix.O_TRUNC) != 0
	}
	name, known := legacy[c.number]
	return name, known
}
