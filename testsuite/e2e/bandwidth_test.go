package e2e

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"testing"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

// timed says how many seconds something takes.
const timed = `python3 -c '
import socket, time
s = socket.socket()
def connect(port): s.connect(("%s", port))
begun = time.time()
%s
print(time.time() - begun, end="")'`

// An instance's traffic keeps to the configured rate each way; without the
// setting it is as fast as it can.
func TestAnInstancesTrafficKeepsToItsRate(t *testing.T) {
	const rate, burst, amount = 4 << 20, 256 << 10, 2 << 20
	outside := rig.NewOutside(t)
	sink := outside.Listen(t, netip.AddrPortFrom(rig.InternetAddress, 7000))
	source := outside.Listen(t, netip.AddrPortFrom(rig.InternetAddress, 7001))
	go serveEach(sink, func(conn net.Conn) { io.Copy(io.Discard, conn) })
	go serveEach(source, func(conn net.Conn) { conn.Write(make([]byte, amount)) })
	limit := fmt.Sprintf("instance {\n  bandwidth {\n    rate  = \"%dB\"\n    burst = \"%dB\"\n  }\n}\n", rate, burst)
	for config, limited := range map[string]bool{limit: true, "": false} {
		t.Run(fmt.Sprint("limited ", limited), func(t *testing.T) {
			s := newStage(t, config)
			app := s.running("app", nil)
			for way, act := range map[string]string{
				"sent":     fmt.Sprintf("connect(7000); s.sendall(bytes(%d)); s.shutdown(1); s.recv(1)", amount),
				"received": "connect(7001)\nwhile s.recv(1 << 16): pass",
			} {
				var got float64 // a busy machine can make it slow, nothing can make it fast
				for range 3 {
					took := app.ask("/run", "sh", fmt.Sprintf(timed, rig.InternetAddress, act))
					seconds, err := strconv.ParseFloat(took, 64)
					if err != nil {
						t.Fatalf("%s: %q", way, took)
					}
					if got = (amount - burst) / seconds; got > 0.7*rate {
						break
					}
				}
				t.Logf("%s: %.2f MiB/s", way, got/(1<<20))
				if limited && (got < 0.7*rate || got > 1.3*rate) || !limited && got < 2*rate {
					t.Errorf("%s at %.0f bytes/s; the limit is %d: %v", way, got, rate, limited)
				}
			}
		})
	}
}

func serveEach(l net.Listener, serve func(net.Conn)) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() { defer conn.Close(); serve(conn) }()
	}
}
