// Package staging turns bits into droplets, and droplets into layers that
// containers share.
//
//	Source ─▶ body ─┬─▶ digests (sha1, sha256)             compared at the end
//	                └─▶ gzip, zstd ─▶ tar ─▶ .fetch-…/layer ─rename─▶ <digest>/
//
// A droplet is read once, in one pass: what arrives is hashed, decompressed
// and written at the same time, into a folder that nobody looks at until the
// digest of the whole body is right. What isn't published is removed.
//
//	<dir>/<digest>/droplet.json       what it is and where it came from
//	<dir>/<digest>/settled            exists once all of it has reached the disk
//	<dir>/<digest>/layer/home/vcap/   the droplet: app, logs, tmp, …
//	<dir>/.fetch-…                    half made
//	<dir>/.aside-<digest>-…/<digest>  renamed aside, to be removed
//
// Archives are hostile until proven harmless. An entry is refused, by name,
// where it is absolute, climbs, comes twice, passes through something that is
// not a folder of the same archive, is a hard link to anything but a file of
// the same archive, or is a device, a fifo or unknown. Setuid, setgid and
// sticky bits, write permission for others than the owner, owners and extended
// attributes are stripped: the layer lies under an overlay, to which some
// attributes would be instructions. Symbolic links keep their text, whatever
// it is; nothing here ever follows one.
//
// # A power failure
//
// Nothing is synced on the way to a start, so a power failure can leave a
// layer with a right name and torn files. A layer is therefore trusted in the
// boot in which it was written (the page cache is whole as long as the kernel
// lives), and in later boots only if settled exists, which is created after a
// syncfs that began when the layer was complete. Evict does that, off the way.
// What is neither is fetched again.
//
// The package imports nothing of ours.
package staging
