package packet

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func pair(t *testing.T) (*Conn, *Conn) {
	t.Helper()
	here, peer, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { here.Close() })
	// Pair's second end is for a child; a copy of it stands for the child's.
	fd, err := unix.FcntlInt(peer.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	peer.Close()
	there, err := New(fd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { there.Close() })
	return here, there
}

func TestMessagesArriveWholeAndInOrder(t *testing.T) {
	here, there := pair(t)
	messages := [][]byte{{1}, bytes.Repeat([]byte{2}, MessageMax), []byte("three")}
	go func() {
		for _, m := range messages {
			if err := here.Send(m); err != nil {
				t.Error(err)
			}
		}
	}()
	for i, want := range messages {
		got, files, err := there.Receive()
		if err != nil || len(files) != 0 || !bytes.Equal(got, want) {
			t.Errorf("message %d: %d bytes, %d files, %v; want %d bytes", i, len(got), len(files), err, len(want))
		}
	}
}

func TestDescriptorsArriveInOrderAndAreClosedOnExec(t *testing.T) {
	here, there := pair(t)
	var sent []*os.File
	var names []string
	for range filesMax {
		file, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		sent, names = append(sent, file), append(names, file.Name())
	}
	if err := here.Send([]byte("files"), sent...); err != nil {
		t.Fatal(err)
	}
	_, files, err := there.Receive()
	if err != nil || len(files) != len(sent) {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for i, file := range files {
		defer file.Close()
		want, _ := os.Stat(names[i])
		got, err := file.Stat()
		if err != nil || !os.SameFile(want, got) {
			t.Errorf("file %d is another: %v", i, err)
		}
		if flags, err := unix.FcntlInt(file.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("file %d survives an exec: flags %#x, %v", i, flags, err)
		}
	}
}

func TestWhatIsTooLongIsRefusedBeforeItIsSent(t *testing.T) {
	here, there := pair(t)
	if err := here.Send(make([]byte, MessageMax+1)); !errors.Is(err, ErrTooLong) {
		t.Errorf("a byte too many: %v", err)
	}
	if err := here.Send([]byte("x"), make([]*os.File, filesMax+1)...); !errors.Is(err, ErrTooLong) {
		t.Errorf("a file too many: %v", err)
	}
	if err := here.Send([]byte("next")); err != nil {
		t.Fatal(err)
	}
	if got, _, err := there.Receive(); err != nil || string(got) != "next" {
		t.Errorf("the next message is %q, %v", got, err)
	}
}

// A peer that keeps to no bound of ours must not make us hold its message.
func TestWhatIsTooLongIsNotReceived(t *testing.T) {
	here, there := pair(t)
	here.Control(func(fd int) { unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 8*MessageMax) })
	var sent error
	here.Control(func(fd int) { sent = unix.Sendmsg(fd, make([]byte, MessageMax+1), nil, nil, 0) })
	if sent != nil {
		t.Fatal(sent)
	}
	if _, _, err := there.Receive(); !errors.Is(err, ErrTooLong) {
		t.Errorf("received: %v", err)
	}
}

func TestTheOtherEndsCloseIsTheEnd(t *testing.T) {
	here, there := pair(t)
	received := make(chan error, 1)
	go func() {
		_, _, err := there.Receive()
		received <- err
	}()
	here.Close()
	if err := <-received; !errors.Is(err, io.EOF) {
		t.Errorf("received: %v", err)
	}
	if err := there.Send([]byte("x")); !errors.Is(err, unix.EPIPE) {
		t.Errorf("sent: %v", err)
	}
}

func TestADeadlineEndsTheWait(t *testing.T) {
	_, there := pair(t)
	there.SetDeadline(time.Unix(1, 0))
	if _, _, err := there.Receive(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("received: %v", err)
	}
}
