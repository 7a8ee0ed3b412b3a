// Package guest runs tests in a virtual machine whose kernel has what ours
// lacks: a unified cgroup tree with all controllers, and the age of the oldest
// kernel that a part claims to work on.
//
//	GUEST_KERNEL=DIR go test -tags guest ./testsuite/guest
//
// DIR is an unpacked kernel package, made by
//
//	apt-get download linux-image-6.1.0-NN-cloud-amd64 && dpkg -x linux-image-*.deb DIR
//
// Nothing is installed and nothing is downloaded by the tests; what is missing
// fails them, by name. The machine is emulated in software: it boots in 5 s.
package guest
