package devnats

import (
	"errors"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAPortThatWasAskedForAndIsTakenIsAnError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = Start(l.Addr().(*net.TCPAddr).Port)
	if !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("got %v, want an address in use", err)
	}
}

// The usual port may well be taken on the machine that tests run on; either
// way two servers stand beside one another.
func TestTwoServersFindAPortEach(t *testing.T) {
	var urls []string
	for range 2 {
		s, err := Start(0)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Stop()
		urls = append(urls, s.URL())
	}
	if urls[0] == urls[1] {
		t.Errorf("both listen on %s", urls[0])
	}
}

func TestAStoppedServerGivesItsPortBack(t *testing.T) {
	s, err := Start(0)
	if err != nil {
		t.Fatal(err)
	}
	address := s.server.Addr().String()
	s.Stop()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal("the port is still taken:", err)
	}
	l.Close()
}
