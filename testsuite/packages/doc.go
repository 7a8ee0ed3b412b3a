// Package packages builds the deb and the rpm as `make packages` does, unpacks both
// with nothing but the formats' own rules, and looks at what is inside. What they do
// to a machine with systemd is seen in an emulated one (testsuite/guest).
package packages
