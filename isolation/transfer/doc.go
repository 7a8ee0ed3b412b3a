// Package transfer copies files and folders between the node and a container
// without running anything in the container, as `rsync -r -p --links` would
// (wire/warden.md f): folders whole, links as links, modes kept; times and
// owners not; devices, pipes and sockets left out.
//
//	source ─▶ sender ══ entries ══▶ receiver ─▶ target
//	          └ on a thread that is the container's account, whichever end is there
//
// The container's end trusts nothing of the container. It begins at a
// descriptor of the container's root, finds the path that was asked for with
// openat2's RESOLVE_IN_ROOT, so that a link or ".." ends inside whatever
// happens meanwhile, and below that goes from folder to folder by descriptor
// and follows no link at all. Its thread is the container's account to the
// kernel: fsuid, fsgid, no supplementary group and no capability, so that the
// kernel itself allows what it would allow that account, and no more.
//
// A file is written beside its place and renamed into it: nobody sees half a
// file, and what was there, a link or a program that runs, is never written to.
// What can't be copied doesn't hold up the rest; the error names it.
//
// Open and OpenKept find a path in the same way and open what is there for
// reading, if it is a file or a folder.
//
// Three things are not rsync's: holes stay holes; a folder that was there and
// is another's, as /tmp, keeps its mode without an error; and a file that comes
// to the node is never set-user-id or set-group-id, because it is root's there.
package transfer
