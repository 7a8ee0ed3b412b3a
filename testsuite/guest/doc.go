// Package guest runs tests in a virtual machine whose kernel has what ours
// lacks: a unified cgroup tree with all controllers, and the age of the oldest
// kernel that a part claims to work on.
//
//	make guest            or, with SHORT=1, v2's most telling part
//	GUEST_KERNEL=DIR GUEST_DEBIAN=DIR go test -tags guest -count 1 -v ./testsuite/guest
//
// DIR is an unpacked kernel package; tools/guest-kernel makes one by
//
//	apt-get download linux-image-6.1.0-NN-cloud-amd64 && dpkg -x linux-image-*.deb DIR
//
// and tools/guest-debian makes a small Debian with systemd, by debootstrap.
//
// Four kinds of guest are booted: one without a disk for what needs only a
// kernel; one with a disk for whole containers, with the calls of Warden's on
// them; one with a disk for whole nodes, which are testsuite/e2e's own tests;
// and a Debian with systemd, in which the deb is installed, restarted, upgraded
// and removed.
// All that they need is built outside. Nothing is installed and nothing is
// downloaded by the tests; what is missing fails them, by name.
//
// The machine is emulated in software and runs beside everything else at the
// lowest priority: it boots in 4 s, and what is inside takes five to ten times
// as long.
package guest
