// Package rootfs makes the mounts of a container's root, detached: they exist
// as descriptors only, until PID 1 attaches them in its own mount namespace,
// and go with the last process that holds them. A dead agent leaves no mount.
//
//	layers (read-only, shifted) ─┐
//	upper folder (isolation/disk) ┴─ Overlay ─▶ root
//	/usr of the node (unshifted) ─── Layer ───▶ bind
//	node-wide template ───────────── Clone ───▶ /dev
//
// Shifted means idmapped with PID 1's user namespace: uid 0 on disk is the
// container's root, uid 2000 its vcap. Unshifted files of the node's root
// belong to nobody inside, so not even the container's root reads what only
// the node's may.
package rootfs
