// Package stack makes root file systems ("stacks"), looks after them, and
// removes them. It works on one folder:
//
//	<name>/tree/       the root file system, owners as they are inside
//	<name>/manifest    where it came from, its digest and size
//	<name>/files       one line for each entry of the tree; the digest is this file's
//	<name>/log         what debootstrap said, where that made it
//	.new-<name>/       being made
//	.old-<name>/       about to be removed, if nobody uses it after all
//	.gone-<name>/      being removed
//	.log-<name>        of the last attempt to build it, where that failed
//
// Beside them lie the layers that isolation/rootfs generates, host-…, which are
// none of this package's.
//
//	debootstrap ─────────────────┐ clean
//	folder, tar ──▶ entries ─────┤
//	layers of an image ─▶ entries┴─▶ .new-<name>/tree ─▶ complete ─▶ files, manifest ─rename─▶ <name>
//
// A stack is made beside the others and gets its name in one rename, manifest
// and all, when every byte has reached the disk. Whoever works on a folder holds
// a lock on it (flock), which the kernel drops with the process, however that
// ends: what has such a name and no holder was left by somebody who is dead, and
// the next command that changes anything removes it. An agent holds a shared
// lock on each stack that it offers, which is why none of those can be removed.
//
// What is imported is hostile until proven harmless. No entry climbs, and every
// path is resolved by the kernel inside the tree (openat2, RESOLVE_IN_ROOT): a
// link may lead anywhere, and nothing here leaves the tree by it. A device is
// left out below /dev, which every container gets made, and refused elsewhere:
// to an overlay a device 0,0 is an order to hide a file.
//
// Of ours the package imports staging only.
package stack
