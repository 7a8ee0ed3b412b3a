package status

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/net/netutil"

	"github.com/deacon-agent/deacon/messaging"
)

// Bounds of a connection. Scrapes keep theirs open between two of them.
const (
	readMax      = 5 * time.Second
	writeMax     = 30 * time.Second
	idleMax      = 2 * time.Minute
	headerMax    = 16 << 10
	connsMax     = 64 // at once; further ones wait in the kernel's queue
	answersAtAll = 4  // that are being made at once; further ones are told to come again
)

// Config says where the door is and who may come in.
type Config struct {
	Listen         netip.AddrPort // a port of 0 takes any
	User, Password string         // for /varz
	// GuardMetrics wants them for /metrics too.
	GuardMetrics bool
	TLS          *tls.Config // nil: in the clear
	Log          hclog.Logger
}

// Sources are what there is to see. All may be called at once, and are given a
// context that ends when nobody waits any more.
type Sources struct {
	// Ready says why the node takes no commands; nil: it does.
	Ready   func() error
	Report  func(context.Context) messaging.Report
	Metrics http.Handler
}

// Door is an open listener.
type Door struct {
	config   Config
	sources  Sources
	listener net.Listener
	server   *http.Server
	places   chan struct{}
	served   chan struct{} // closed when nothing listens any more
}

// Open listens. What is asked before Close is answered.
func Open(c Config, s Sources) (*Door, error) {
	listener, err := net.Listen("tcp", c.Listen.String())
	if err != nil {
		return nil, fmt.Errorf("status: %w", err)
	}
	d := &Door{
		config: c, sources: s, listener: listener, places: make(chan struct{}, answersAtAll), served: make(chan struct{}),
	}
	d.server = &http.Server{
		Handler: d.routes(), ReadTimeout: readMax, ReadHeaderTimeout: readMax, WriteTimeout: writeMax,
		IdleTimeout: idleMax, MaxHeaderBytes: headerMax,
		ErrorLog: c.Log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	serving := netutil.LimitListener(listener, connsMax)
	if c.TLS != nil {
		serving = tls.NewListener(serving, c.TLS)
	}
	go func() {
		defer close(d.served)
		if err := d.server.Serve(serving); !errors.Is(err, http.ErrServerClosed) {
			c.Log.Error("the node can't be watched any more", "error", err)
		}
	}()
	return d, nil
}

// Address is where it listens.
func (d *Door) Address() netip.AddrPort { return d.listener.Addr().(*net.TCPAddr).AddrPort() }

// closeMax is how long an answer that is under way may take to be sent.
const closeMax = 2 * time.Second

// Close lets go; answers that are under way are sent.
func (d *Door) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeMax)
	defer cancel()
	err := d.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = d.server.Close()
	}
	<-d.served
	if err != nil {
		return fmt.Errorf("status: close: %w", err)
	}
	return nil
}
