// Package e2e runs the real agent on the real kernel, driven by a controller
// that knows nothing but the wire, inside a network that can't leak (see
// testsuite/rig). Each test ends by shutting its node down and looking for
// anything that it left in the kernel.
package e2e
