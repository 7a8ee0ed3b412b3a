// Package disk holds containers' upper folders and enforces limits.disk. Which
// driver does it is the configuration's choice among what the machine can:
//
//	btrfs   one sparse image for the node, a subvolume and a quota per
//	        container: 0.1 ms to make, 0.05 ms to give up. The default.
//	tmpfs   memory; what is written counts against the container's memory too
//	none    a plain folder without a limit: only where configured so
//
// Quotas can be changed while a container lives:
//
//	         bytes                            inodes    at the limit
//	btrfs    any, also below what is there    no        EDQUOT
//	tmpfs    not below what is there; by the  likewise  ENOSPC
//	         agent that made it only
//	none     no                               no        -
//
// Where a driver can't, ErrNoQuota says so. When an area is made, bounds that
// its driver can't enforce are passed over.
//
// Pools and areas are mounted detached: a descriptor keeps them, and so does a
// container's root. When neither is left the kernel unmounts and frees the loop
// device by itself, so a dead agent leaves nothing but the image file.
package disk
