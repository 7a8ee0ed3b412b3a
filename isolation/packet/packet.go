// Package packet sends and receives messages with file descriptors over
// SOCK_SEQPACKET unix sockets. It knows nothing of what the messages say
// (isolation/initproto), and it is small enough for deacon-init.
package packet

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// MessageMax bounds one message in bytes; initproto.MessageMax is the same
// number, and a test there holds the two together.
const MessageMax = 256 << 10

// filesMax is SCM_MAX_FD, the kernel's limit for one message.
const filesMax = 253

// ErrTooLong says that a message is longer than MessageMax.
var ErrTooLong = errors.New("packet: message too long")

// Conn is one end of a connection. Any number may send at the same time, and
// one may receive meanwhile: a message is one system call, and RawConn lets one
// sender in after the other. Two receivers would work too, but neither could
// know whose message it got.
type Conn struct {
	file *os.File
	raw  syscall.RawConn
}

// New takes over fd, a connected SOCK_SEQPACKET socket.
func New(fd int) (*Conn, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	// Room for a message of the greatest size. The plain option is bounded by
	// the machine's wmem_max, the forced one needs rights that PID 1 lacks.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 2*MessageMax) != nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 2*MessageMax)
	}
	file := os.NewFile(uintptr(fd), "packet")
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &Conn{file, raw}, nil
}

// Pair makes two connected ends: one to use here, one to hand to a child.
func Pair() (*Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	conn, err := New(fds[0])
	if err != nil {
		unix.Close(fds[1])
		return nil, nil, err
	}
	return conn, os.NewFile(uintptr(fds[1]), "peer"), nil
}

// Send sends one message with files. The files stay the caller's.
func (c *Conn) Send(message []byte, files ...*os.File) error {
	if len(message) > MessageMax || len(files) > filesMax {
		return ErrTooLong
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, file := range files {
			fds[i] = int(file.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	var sent error
	err := c.raw.Write(func(fd uintptr) bool {
		sent = unix.Sendmsg(int(fd), message, rights, nil, unix.MSG_NOSIGNAL)
		return sent != unix.EAGAIN
	})
	if err != nil {
		return err
	}
	return os.NewSyscallError("sendmsg", sent)
}

// Receive waits for one message; the files are the caller's to close. The
// other end's close reads as io.EOF.
func (c *Conn) Receive() (message []byte, files []*os.File, err error) {
	var received error
	err = c.raw.Read(func(fd uintptr) bool {
		message, files, received = receive(int(fd))
		return received != unix.EAGAIN
	})
	if err == nil {
		err = received
	}
	return message, files, err
}

func receive(fd int) ([]byte, []*os.File, error) {
	// The size first, so that an idle connection holds no buffer.
	size, _, _, _, err := unix.Recvmsg(fd, nil, nil, unix.MSG_PEEK|unix.MSG_TRUNC)
	switch {
	case err == unix.ECONNRESET:
		return nil, nil, io.EOF
	case err != nil:
		return nil, nil, wrap(err)
	case size > MessageMax:
		return nil, nil, ErrTooLong
	}
	message := make([]byte, size)
	rights := make([]byte, unix.CmsgSpace(filesMax*4))
	n, rn, _, _, err := unix.Recvmsg(fd, message, rights, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, nil, wrap(err)
	}
	if n == 0 {
		return nil, nil, io.EOF
	}
	return message[:n], decodeRights(rights[:rn]), nil
}

// wrap keeps EAGAIN bare for the poller's sake.
func wrap(err error) error {
	if err == unix.EAGAIN {
		return err
	}
	return os.NewSyscallError("recvmsg", err)
}

func decodeRights(b []byte) (files []*os.File) {
	messages, err := unix.ParseSocketControlMessage(b)
	if err != nil {
		return nil
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files
}

// SetDeadline bounds both directions; the zero time takes the bound away.
func (c *Conn) SetDeadline(t time.Time) error { return c.file.SetDeadline(t) }

// Control calls f with the descriptor.
func (c *Conn) Control(f func(fd int)) error {
	return c.raw.Control(func(fd uintptr) { f(int(fd)) })
}

// Close closes this end.
func (c *Conn) Close() error { return c.file.Close() }
