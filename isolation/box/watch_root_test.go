package box

import (
	"slices"
	"testing"
)

func TestTrafficIsCountedWhereItWent(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	spec := m.spec(3, 61002)
	serve := `python3 -c 'import socket
s=socket.create_server(("0.0.0.0",61002)); print("up",flush=True)
while True: c,_=s.accept(); c.sendall(b"x"*100000); c.close()'`
	status, err := b.Create(t.Context(), spec, shell(1, serve))
	if err != nil {
		t.Fatal(err)
	}
	if held := b.Held(); !slices.Equal(held, []string{spec.ID}) {
		t.Errorf("held are %q", held)
	}
	link := m.config.Plan.Link(slotOf(spec))
	before, err := b.Traffic()
	if err != nil {
		t.Fatal(err)
	}
	fetch(t, status.PeerIP.String()+":61002")
	after, err := b.Traffic()
	if err != nil {
		t.Fatal(err)
	}
	if sent := after[link].Sent - before[link].Sent; sent < 100_000 || sent > 200_000 {
		t.Errorf("the container is counted to have sent %d bytes: %v, %v", sent, before, after)
	}
	if got := after[link].Received - before[link].Received; got == 0 || got > 50_000 {
		t.Errorf("the container is counted to have received %d bytes", got)
	}
}
