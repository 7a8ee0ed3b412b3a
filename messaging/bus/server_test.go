package bus

import (
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/testsuite/logbook"
)

// patience is how long anything that must come is waited for.
const patience = 20 * time.Second

const nodeID = "0-5f6d1c7a9b3e42d08c1f2e3d4c5b6a79"

func TestMain(m *testing.M) {
	code := m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, "left behind:", err)
		code = 1
	}
	os.Exit(code)
}

// natsServer is a real one, in the test's process and on loopback.
type natsServer struct {
	t       testing.TB
	options server.Options
	server  *server.Server
	url     string
}

func startServer(t testing.TB, change func(*server.Options)) *natsServer {
	t.Helper()
	s := &natsServer{t: t, options: server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
	}}
	if change != nil {
		change(&s.options)
	}
	s.start()
	t.Cleanup(s.stop)
	return s
}

func (s *natsServer) start() {
	s.t.Helper()
	options := s.options
	running, err := server.NewServer(&options)
	if err != nil {
		s.t.Fatal(err)
	}
	go running.Start()
	if !running.ReadyForConnections(patience) {
		s.t.Fatal("the server is not ready")
	}
	s.server = running
	s.options.Port = running.Addr().(*net.TCPAddr).Port // where it comes back
	s.url = fmt.Sprintf("nats://127.0.0.1:%d", s.options.Port)
}

func (s *natsServer) stop() {
	s.server.Shutdown()
	s.server.WaitForShutdown()
}

// gate keeps clients of one name out while it is shut, so that a test can be
// listening before a bus is back.
type gate struct {
	shut atomic.Bool
	name string
}

func (g *gate) Check(c server.ClientAuthentication) bool {
	return c.GetOpts().Name != g.name || !g.shut.Load()
}

// openBus opens one that the test closes.
func openBus(t testing.TB, log *logbook.Logbook, c Config) *Bus {
	t.Helper()
	c.Name, c.Log = "bus", log.Logger()
	if c.NodeID == "" {
		c.NodeID = nodeID
	}
	b, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.abandon(); b.Close(t.Context()) })
	return b
}

// observer is any other program on the wire.
func observer(t testing.TB, url string, options ...nats.Option) *nats.Conn {
	t.Helper()
	conn, err := nats.Connect(url, append(options, nats.Name("observer"), nats.NoReconnect())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// subscribed returns the messages on subject, from now on.
func subscribed(t testing.TB, conn *nats.Conn, subject string) <-chan *nats.Msg {
	t.Helper()
	messages := make(chan *nats.Msg, 1<<16)
	if _, err := conn.ChanSubscribe(subject, messages); err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	return messages
}

// receive waits for the next of a channel.
func receive[T any](t testing.TB, from <-chan T) T {
	t.Helper()
	select {
	case got := <-from:
		return got
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// listen returns the commands that a bus hands over.
func listen(t *testing.T, b *Bus) <-chan messaging.Command {
	t.Helper()
	commands := make(chan messaging.Command, 1<<16)
	if err := b.Listen(func(cmd messaging.Command) { commands <- cmd }); err != nil {
		t.Fatal(err)
	}
	if b.Connected() {
		if err := b.conn.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	return commands
}
