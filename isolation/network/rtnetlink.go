package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// request is one change of links or addresses.
type request struct {
	*nl.NetlinkRequest
	what      string       // for the error's words
	tolerated []unix.Errno // answers that are as good as success
}

// wire is a socket for changes of links and addresses. It sends several in one
// system call, where the usual libraries make a round trip for each and look
// up again what they have just made.
type wire struct {
	mu sync.Mutex
	fd int
}

func openWire() (*wire, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("network: open rtnetlink: %w", err)
	}
	// Without it, an answer repeats the request that it refuses.
	if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("network: open rtnetlink: %w", err)
	}
	return &wire{fd: fd}, nil
}

func (w *wire) close() error { return unix.Close(w.fd) }

// send makes the changes in order. The kernel tries each of them, whatever
// became of the one before; the first that failed is the error.
func (w *wire) send(requests ...request) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var batch []byte
	for _, r := range requests {
		r.Flags |= unix.NLM_F_ACK
		batch = append(batch, r.Serialize()...)
	}
	if err := unix.Sendto(w.fd, batch, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("send to rtnetlink: %w", err)
	}
	var failed error
	for _, r := range requests {
		errno, err := w.answer(r.Seq)
		if err != nil {
			return err
		}
		if errno != 0 && !slices.Contains(r.tolerated, errno) && failed == nil {
			failed = fmt.Errorf("%s: %w", r.what, errno)
		}
	}
	return failed
}

// answerSize is a header, an errno and the header of the request.
const answerSize = unix.SizeofNlMsghdr + 4 + unix.SizeofNlMsghdr

// answer takes the answer to the request of that number, and passes over those
// of a send that failed half way.
func (w *wire) answer(sequence uint32) (unix.Errno, error) {
	buffer := make([]byte, answerSize)
	for {
		n, _, err := unix.Recvfrom(w.fd, buffer, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("receive from rtnetlink: %w", err)
		}
		kind := binary.NativeEndian.Uint16(buffer[4:])
		if n < unix.SizeofNlMsghdr+4 || kind != unix.NLMSG_ERROR {
			return 0, fmt.Errorf("receive from rtnetlink: message of type %d and %d bytes", kind, n)
		}
		if binary.NativeEndian.Uint32(buffer[8:]) == sequence {
			return unix.Errno(-int32(binary.NativeEndian.Uint32(buffer[unix.SizeofNlMsghdr:]))), nil
		}
	}
}

// index is the number of the link of that name; unix.ENODEV if there is none.
// Unlike a netlink request it takes no lock that others wait for.
func (w *wire) index(name string) (int, error) {
	ask, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(w.fd, unix.SIOCGIFINDEX, ask); err != nil {
		return 0, err
	}
	return int(ask.Uint32()), nil
}
