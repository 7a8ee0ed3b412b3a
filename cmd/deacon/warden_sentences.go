package main

import "strings"

// wardenSentences say what each command is for; the first sentence stands in
// the list of all.
var wardenSentences = map[string]string{
	"copy_in": `Copy files into a container. They are of the server's machine, and the container
is to be active. Modes and symbolic links stay, and all becomes the user vcap's.
The last part of dst_path is made.`,
	"copy_out": `Copy files out of a container, to the server's machine. It works on a stopped
container too. All becomes root's, or the owner's.`,
	"create": `Make a container, and tell its handle. Unless somebody stays connected it is
destroyed when its grace time is over.`,
	"destroy": `Stop a container and take it away, with all that is in it.`,
	"echo":    `Have the server say something.`,
	"info": `Tell all about a container. That is its state, what happened to it, addresses,
what it uses, and the jobs that run.`,
	"limit_bandwidth": `Limit the traffic of a container, each way. What the limits are, info tells.`,
	"limit_cpu": `Tell or set a container's weight among others. It is from 2 to 262144, and 1024
usually.`,
	"limit_disk": `Tell or set what a container's jobs may have on disk. What isn't given stays as
it is; 0 is no limit. Of several for one thing the last in this list counts, and
blocks count before bytes.`,
	"limit_memory": `Tell or set a container's limit on memory and swap together. A container that
goes beyond it is stopped.`,
	"link": `Wait for a job's end, tell its status and all that it wrote. That, or stream,
can be done once; several may wait at the same time.`,
	"list": `Tell the handles of all containers. Stopped ones are among them, and the oldest
comes first.`,
	"net_in": `Lead a port of the server's machine to one of a container. It is for TCP, and the
container is to be active. Without host_port the server chooses one; without
container_port it is the same.`,
	"net_out": `Let a container reach a network, a port or ports. One of them is to be given, and
the container is to be active.`,
	"ping": `Have the server answer.`,
	"run": `Run a script in a container, and show its output as it comes. It ends with the
script's status. That is spawn and stream in one; the container is to be active.`,
	"spawn": `Start a script in a container, and tell the job's number. The container is to be
active.`,
	"stop": `End all jobs of a container. They get SIGTERM, and SIGKILL after 10 seconds;
nothing can be run in it any more.`,
	"stream": `Show a job's output as it comes, from its beginning. It ends with the job's status.`,
}

// textForm is how a text command of Warden's first version is written, each
// way a line, and what it does.
type textForm struct {
	usages    []string
	sentences string
}

var textForms = map[string]textForm{
	"copy": {[]string{"copy HANDLE in SRC DST", "copy HANDLE out SRC DST [OWNER]"},
		`Copy files into a container or out of it, to the server's machine, as copy_in
and copy_out do. A SRC with a / at its end is what is in it. OWNER is
USER:GROUP, for DST and all below.`},
	"create": {[]string{"create [CONFIG]"},
		`Make a container, and tell its handle. CONFIG is a JSON object in quotes:
'{"bind_mounts": [["/src", "/dst", "ro"]], "grace_time": 300}'.`},
	"destroy": {[]string{"destroy HANDLE"}, wardenSentences["destroy"]},
	"echo":    {[]string{"echo TEXT"}, wardenSentences["echo"]},
	"info":    {[]string{"info HANDLE"}, wardenSentences["info"]},
	"limit": {[]string{"limit HANDLE mem [BYTES]", "limit HANDLE disk [BYTES]", "limit HANDLE bandwidth RATE BURST"},
		`Set what a container may have of memory and disk, or tell it if BYTES is left
out, and limit its traffic to RATE bytes a second with a BURST of bytes, each
way. That is limit_memory, limit_disk --byte and limit_bandwidth.`},
	"link": {[]string{"link HANDLE JOB"}, wardenSentences["link"]},
	"list": {[]string{"list"}, wardenSentences["list"]},
	"net": {[]string{"net HANDLE in", "net HANDLE out NETWORK[:PORT]"},
		`Lead a port of the server's machine to the same port of a container, and tell
which the server chose; or let a container reach a network, such as
10.0.0.0/8, on one port or on all. net_in and net_out do the same, and more.`},
	"ping":   {[]string{"ping"}, wardenSentences["ping"]},
	"run":    {[]string{"run HANDLE SCRIPT"}, wardenSentences["run"]},
	"spawn":  {[]string{"spawn HANDLE SCRIPT"}, wardenSentences["spawn"]},
	"stop":   {[]string{"stop HANDLE"}, wardenSentences["stop"]},
	"stream": {[]string{"stream HANDLE JOB"}, wardenSentences["stream"]},
}

// fieldNotes say what a field is, by its command and the way to it, or else by
// the way alone.
var fieldNotes = map[string]string{
	"handle":        "the container",
	"job_id":        "the job, as spawn told",
	"script":        "what bash is to read",
	"privileged":    "as root, not as vcap",
	"log_tag":       "to syslog as well, as warden.TEXT",
	"echo.message":  "what to say",
	"create.handle": "what to call it; else the server chooses",

	"create.bind_mounts.src_path": "a folder of the server's machine",
	"create.bind_mounts.dst_path": "where it appears, absolute",
	"create.bind_mounts.mode":     "read only, or writable",
	"create.grace_time":           "seconds that it outlives the last connection",
	"create.network":              "an address in the /30 that it is to have",
	"create.rootfs":               "folder of its root file system",

	"discard_output":  "keep nothing of what it writes",
	"stop.background": "don't wait until they have ended",
	"stop.kill":       "by SIGKILL at once",

	"net_in.host_port":      "of the server's machine",
	"net_in.container_port": "of the container",
	"net_out.network":       "address, network (10.0.0.0/8) or range (10.0.0.1-10.0.0.9)",
	"net_out.port":          "one port",
	"net_out.port_range":    "ports, as 8080:9080; it wins over port",
	"net_out.protocol":      "TCP unless given",
	"net_out.icmp_type":     "of ICMP; -1: any",
	"net_out.icmp_code":     "of ICMP; -1: any",
	"net_out.log":           "log what passes by this rule",

	"copy_in.src_path":  "of the server's machine; with a / at its end what is in it",
	"copy_in.dst_path":  "in the container",
	"copy_out.src_path": "in the container; with a / at its end what is in it",
	"copy_out.dst_path": "of the server's machine",
	"copy_out.owner":    "USER:GROUP, for dst_path and all below",

	"limit_memory.limit_in_bytes": "bytes; without it the limit is told",
	"limit_cpu.limit_in_shares":   "the weight; without it it is told",
	"limit_bandwidth.rate":        "bytes a second",
	"limit_bandwidth.burst":       "bytes",
	"limit_disk.block_limit":      "blocks of 1 KiB",
	"limit_disk.block":            "blocks of 1 KiB",
	"limit_disk.block_soft":       "blocks of 1 KiB",
	"limit_disk.block_hard":       "blocks of 1 KiB",
	"limit_disk.inode_limit":      "inodes",
	"limit_disk.inode":            "inodes",
	"limit_disk.inode_soft":       "inodes",
	"limit_disk.inode_hard":       "inodes",
	"limit_disk.byte_limit":       "bytes, rounded up to blocks",
	"limit_disk.byte":             "bytes, rounded up to blocks",
	"limit_disk.byte_soft":        "bytes, rounded up to blocks",
	"limit_disk.byte_hard":        "bytes, rounded up to blocks",

	"rlimits.as":         "bytes of address space",
	"rlimits.core":       "bytes of a core file",
	"rlimits.cpu":        "seconds of processor time",
	"rlimits.data":       "bytes of data segment",
	"rlimits.fsize":      "bytes of a file",
	"rlimits.locks":      "file locks",
	"rlimits.memlock":    "bytes locked in memory",
	"rlimits.msgqueue":   "bytes in message queues",
	"rlimits.nice":       "20 less the lowest nice value",
	"rlimits.nofile":     "open files",
	"rlimits.nproc":      "processes of the user",
	"rlimits.rss":        "bytes in memory (the kernel ignores it)",
	"rlimits.rtprio":     "real-time priority",
	"rlimits.sigpending": "signals that wait",
	"rlimits.stack":      "bytes of stack",
}

func leafNote(command string, f leafField) string {
	way := strings.Join(f.path, ".")
	if note, ok := fieldNotes[command+"."+way]; ok {
		return note
	}
	return fieldNotes[way]
}
