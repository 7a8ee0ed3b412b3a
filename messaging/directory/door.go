package directory

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Limits of what clients may hold.
const (
	connectionsMax = 512
	followersMax   = 64
	headerMax      = 10 * time.Second // for a request to come
	idleMax        = 30 * time.Second // between two requests
	headerBytesMax = 32 << 10         // a link has a path of 4095 bytes, three times that where it is escaped
)

// Why there is nothing to be opened.
var (
	// ErrUnknown: there is no such instance.
	ErrUnknown = errors.New("there is no such instance")
	// ErrUnavailable: it has no files now.
	ErrUnavailable = errors.New("its files are not available")
)

// Files is what is behind the door.
type Files interface {
	// Open opens a file or a folder of an instance for reading. fs.ErrNotExist is
	// what isn't there, fs.ErrPermission what may not be seen.
	Open(ctx context.Context, instance, path string) (*os.File, error)
	// Watch tells what becomes of an open file.
	Watch(file *os.File) (Watch, error)
}

// Watch tells what becomes of an open file.
type Watch interface {
	Changed() <-chan struct{}
	Moved() <-chan struct{}
	Close() error
}

// Config is what a door needs to know.
type Config struct {
	Listen netip.AddrPort
	Signer *Signer
	// Silence is after how long without a byte a follower is cut off.
	Silence time.Duration
	Log     hclog.Logger
}

// Door serves files. It listens as soon as it is open: who comes before Serve
// waits.
type Door struct {
	config    Config
	files     Files
	listener  *crowd
	server    *http.Server
	followers chan struct{}
	serving   chan struct{} // closed when Serve's part is over; nil: it never began
	closing   sync.Once
	log       hclog.Logger
}

// Open listens.
func Open(c Config, files Files) (*Door, error) {
	listener, err := net.Listen("tcp", c.Listen.String())
	if err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	d := &Door{
		config: c, files: files, followers: make(chan struct{}, followersMax), log: c.Log,
		listener: &crowd{
			Listener: listener, places: make(chan struct{}, connectionsMax), closing: make(chan struct{}),
		},
	}
	d.server = &http.Server{
		Handler: d, ReadHeaderTimeout: headerMax, IdleTimeout: idleMax, MaxHeaderBytes: headerBytesMax,
		ConnState: d.listener.changed, ErrorLog: c.Log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	return d, nil
}

// Address is where the door listens.
func (d *Door) Address() netip.AddrPort {
	return d.listener.Addr().(*net.TCPAddr).AddrPort()
}

// Serve begins to answer.
func (d *Door) Serve() {
	d.serving = make(chan struct{})
	go func() {
		defer close(d.serving)
		if err := d.server.Serve(d.listener); !errors.Is(err, http.ErrServerClosed) {
			d.log.Error("files are not served any more", "error", err)
		}
	}()
}

// Close ends every answer that is under way, where it is, and returns when
// nothing of the door runs.
func (d *Door) Close() (err error) {
	d.closing.Do(func() { err = d.close() })
	return err
}

func (d *Door) close() error {
	err := d.server.Close() // and the listener, if Serve was called
	if closed := d.listener.Close(); !errors.Is(closed, net.ErrClosed) {
		err = errors.Join(err, closed)
	}
	if d.serving != nil {
		<-d.serving
	}
	for range connectionsMax {
		d.listener.places <- struct{}{} // when nobody else is in
	}
	return err
}

// crowd is a listener that accepts nobody while too many are in. Its connections
// are TCP's own: what wraps them keeps the kernel from sending files by itself.
type crowd struct {
	net.Listener
	places  chan struct{} // one is in it for each connection
	once    sync.Once
	closing chan struct{}
}

func (c *crowd) Accept() (net.Conn, error) {
	select {
	case c.places <- struct{}{}:
	case <-c.closing:
		return nil, net.ErrClosed
	}
	conn, err := c.Listener.Accept()
	if err != nil {
		<-c.places
	}
	return conn, err
}

func (c *crowd) Close() error {
	c.once.Do(func() { close(c.closing) })
	return c.Listener.Close()
}

// changed is told of each connection once that it is over.
func (c *crowd) changed(_ net.Conn, state http.ConnState) {
	if state == http.StateClosed || state == http.StateHijacked {
		<-c.places
	}
}
