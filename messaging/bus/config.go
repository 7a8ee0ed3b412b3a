package bus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats.go"
)

// Config is how to reach NATS and as whom.
type Config struct {
	Servers []string // "nats://host:port", or "host:port"; tls, ws and wss too
	Name    string   // shown by the server
	NodeID  string   // needed by Open
	Version string   // of this program; shown by the micro service

	// At most one of these four, and none where the servers' URLs have one.
	User, Password string
	Token          string
	NkeySeedFile   string
	CredsFile      string

	TLS TLS
	Log hclog.Logger

	// InboxPrefix is what the subjects of answers to Dial's client begin with, so
	// that permissions can let it have its own and nobody else's; empty: _INBOX.
	InboxPrefix string

	// By is who Dial's client says it is, with what it asks. Nobody checks it.
	By string

	// ExitTold is called when the server has an instance's droplet.exited, late
	// ones after a reconnect included. It must not block.
	ExitTold func(instance string)

	// Dial makes connections instead of net.Dial; nil: that does.
	Dial func(network, address string) (net.Conn, error)

	// InProcess replaces Servers by a server in this process.
	InProcess InProcess
}

// TLS asks for an encrypted connection as soon as one of its fields is set.
type TLS struct {
	CA         string // file; empty: the machine's
	Cert, Key  string // files of the client's certificate; empty: none
	ServerName string // what the server's certificate must say; empty: the URL's host
}

// InProcess is a NATS server that can be spoken to without a socket.
type InProcess interface{ InProcessConn() (net.Conn, error) }

// dialer is a function as nats.go wants it.
type dialer func(network, address string) (net.Conn, error)

func (d dialer) Dial(network, address string) (net.Conn, error) { return d(network, address) }

const (
	// A whole fleet comes back when a server does, so it comes back spread over
	// jitter.
	reconnectWait      = 500 * time.Millisecond
	reconnectJitter    = 500 * time.Millisecond
	reconnectJitterTLS = time.Second

	// A server that is gone without a word is noticed after (pingsMax+1) pings:
	// in 30 s, the time in which a health manager forgets a node.
	pingInterval = 10 * time.Second
	pingsMax     = 2

	connectTimeout = 2 * time.Second
	drainTimeout   = 10 * time.Second
)

// options are what a node and a command line have in common. Whatever can be
// known to be wrong before a connection is tried is an error here.
func (c Config) options() ([]nats.Option, error) {
	options := []nats.Option{
		nats.Name(c.Name),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectJitter, reconnectJitterTLS),
		nats.ReconnectBufSize(-1), // see doc.go
		nats.IgnoreAuthErrorAbort(),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(pingsMax),
		nats.Timeout(connectTimeout),
		nats.DrainTimeout(drainTimeout),
	}
	if c.Dial != nil {
		options = append(options, nats.SetCustomDialer(dialer(c.Dial)))
	}
	if c.InProcess != nil {
		options = append(options, nats.InProcessServer(c.InProcess))
	}
	for _, more := range []func() ([]nats.Option, error){c.credentials, c.encryption} {
		added, err := more()
		if err != nil {
			return nil, err
		}
		options = append(options, added...)
	}
	return options, nil
}

func (c Config) credentials() ([]nats.Option, error) {
	given := map[string]bool{
		"user":           c.User != "" || c.Password != "",
		"token":          c.Token != "",
		"nkey seed file": c.NkeySeedFile != "",
		"creds file":     c.CredsFile != "",
	}
	var kinds []string
	for kind, is := range given {
		if is {
			kinds = append(kinds, kind)
		}
	}
	slices.Sort(kinds)
	switch {
	case len(kinds) > 1:
		return nil, fmt.Errorf("bus: credentials: only one kind can be used, but there are %s", strings.Join(kinds, " and "))
	case c.Password != "" && c.User == "":
		return nil, errors.New("bus: credentials: there is a password but no user")
	case c.User != "":
		return []nats.Option{nats.UserInfo(c.User, c.Password)}, nil
	case c.Token != "":
		return []nats.Option{nats.Token(c.Token)}, nil
	case c.NkeySeedFile != "":
		option, err := nats.NkeyOptionFromSeed(c.NkeySeedFile)
		if err != nil {
			return nil, fmt.Errorf("bus: nkey seed file %s: %w", c.NkeySeedFile, err)
		}
		return []nats.Option{option}, nil
	case c.CredsFile != "":
		option := nats.UserCredentials(c.CredsFile)
		if err := tryCredentials(option); err != nil {
			return nil, fmt.Errorf("bus: creds file %s: %w", c.CredsFile, err)
		}
		return []nats.Option{option}, nil
	}
	return nil, nil
}

// tryCredentials reads the file now; nats.go would read it first when a
// server asks for it, and then try for ever.
func tryCredentials(option nats.Option) error {
	var o nats.Options
	if err := option(&o); err != nil {
		return err
	}
	if _, err := o.UserJWT(); err != nil {
		return err
	}
	_, err := o.SignatureCB([]byte("nonce"))
	return err
}

// encryption lets nats.go read the files at every connect, so that renewed
// certificates are taken up without a restart.
func (c Config) encryption() ([]nats.Option, error) {
	t := c.TLS
	if t == (TLS{}) {
		return nil, nil
	}
	if (t.Cert == "") != (t.Key == "") {
		return nil, errors.New("bus: tls: a certificate and its key come together, but there is only one of them")
	}
	options := []nats.Option{nats.Secure(&tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName})}
	if t.CA != "" {
		options = append(options, nats.RootCAs(t.CA))
	}
	if t.Cert != "" {
		options = append(options, nats.ClientCert(t.Cert, t.Key))
	}
	var tried nats.Options
	for _, option := range options {
		if err := option(&tried); err != nil {
			return nil, fmt.Errorf("bus: tls: %w", err)
		}
	}
	return options, nil
}

var schemes = []string{"nats", "tls", "ws", "wss"}

// checkServers refuses what no connection can come of. It quotes only what
// follows an @, for before it stands a password.
func (c Config) checkServers() error {
	if len(c.Servers) == 0 && c.InProcess == nil {
		return errors.New("bus: servers: there is none")
	}
	for i, server := range c.Servers {
		u, err := url.Parse(withScheme(server))
		if err != nil || u.Hostname() == "" || !slices.Contains(schemes, u.Scheme) || strings.ContainsAny(server, ", ") {
			return fmt.Errorf("bus: servers[%d]: %q is not like nats://host:port", i, redacted(server))
		}
	}
	return nil
}

func withScheme(server string) string {
	if strings.Contains(server, "://") {
		return server
	}
	return "nats://" + server
}

// redacted leaves out user, password and token.
func redacted(server string) string {
	at := strings.LastIndexByte(server, '@')
	if at < 0 {
		return server
	}
	scheme, _, ok := strings.Cut(server[:at], "://")
	if !ok {
		return "..." + server[at:]
	}
	return scheme + "://..." + server[at:]
}

func (c Config) redactedServers() string {
	var all []string
	for _, server := range c.Servers {
		all = append(all, redacted(server))
	}
	return strings.Join(all, ", ")
}

// connect is nats.Connect that gives up when ctx ends.
func (c Config) connect(ctx context.Context, options []nats.Option) (*nats.Conn, error) {
	type outcome struct {
		conn *nats.Conn
		err  error
	}
	done := make(chan outcome, 1)
	go func() {
		conn, err := nats.Connect(strings.Join(c.Servers, ","), options...)
		done <- outcome{conn, err}
	}()
	select {
	case o := <-done:
		return o.conn, o.err
	case <-ctx.Done():
		go func() {
			if o := <-done; o.conn != nil {
				o.conn.Close()
			}
		}()
		return nil, ctx.Err()
	}
}
