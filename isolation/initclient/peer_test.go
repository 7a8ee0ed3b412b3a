package initclient

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// What has the pid of a peer that is gone may be anybody: here it is the test.
func TestAPidIsThePeersOnlyWhileTheConnectionStands(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	pidfd, err := openPeer(fds[0], os.Getpid())
	if err != nil {
		t.Fatal("of a living peer:", err)
	}
	unix.Close(pidfd)
	unix.Close(fds[1])
	if pidfd, err := openPeer(fds[0], os.Getpid()); !errors.Is(err, ErrLost) {
		t.Errorf("of a peer that is gone: %d, %v", pidfd, err)
	}
}
