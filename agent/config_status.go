package agent

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/deacon-agent/deacon/agent/settings"
)

// Status is how the node lets itself be watched by HTTP.
type Status struct {
	Listen netip.AddrPort // not valid: nobody is let in; a port of 0 is any
	// User and Password are for /varz; empty: drawn at each start, and told by
	// vcap.component.announce.
	User         string
	Password     string
	PasswordFile string // instead of Password
	TLS          StatusTLS
}

// StatusTLS is what the node shows; empty: it speaks in the clear.
type StatusTLS struct{ Cert, Key string }

type statusBlock struct {
	Listen       *hcl.Attribute  `hcl:"listen,optional"`
	User         *hcl.Attribute  `hcl:"user,optional"`
	Password     *hcl.Attribute  `hcl:"password,optional"`
	PasswordFile *hcl.Attribute  `hcl:"password_file,optional"`
	TLS          *statusTLSBlock `hcl:"tls,block"`
}

type statusTLSBlock struct {
	Cert *hcl.Attribute `hcl:"cert,optional"`
	Key  *hcl.Attribute `hcl:"key,optional"`
}

func (b *statusBlock) read(r *settings.Reader, s *Status) {
	b.readListen(r, &s.Listen)
	r.Text(b.User, &s.User)
	r.Text(b.Password, &s.Password)
	r.Path(b.PasswordFile, &s.PasswordFile)
	readBlock(b.TLS, func(t *statusTLSBlock) {
		r.Path(t.Cert, &s.TLS.Cert)
		r.Path(t.Key, &s.TLS.Key)
		checkPair(r, t.Cert, t.Key)
	})
	if b.Password != nil && b.PasswordFile != nil {
		r.Fault(b.PasswordFile, "Two passwords", "There is \"password\" too; only one of the two can hold.")
	}
	password := given(b.Password, b.PasswordFile)
	if b.User != nil && (s.User == "" || strings.Contains(s.User, ":")) {
		r.Fault(b.User, "Not a user", "\"user\" must not be empty, nor have a colon in it.")
	}
	if b.Password != nil && s.Password == "" {
		r.Fault(b.Password, "No password", "\"password\" must not be empty. Leave it out to have one drawn.")
	}
	switch {
	case password != nil && b.User == nil:
		r.Fault(password, "A password without a user", "%q needs \"user\" beside it.", password.Name)
	case b.User != nil && password == nil:
		r.Fault(b.User, "A user without a password", "\"user\" needs \"password\" or \"password_file\" beside it.")
	}
	if first := given(b.User, password); first != nil && b.Listen == nil {
		r.Warn(first, "status.%s has no effect without status.listen", first.Name)
	}
}

func (b *statusBlock) readListen(r *settings.Reader, into *netip.AddrPort) {
	v, ok := r.Word(b.Listen, "an address and a port")
	if !ok {
		return
	}
	at, err := netip.ParseAddrPort(v)
	if err != nil || at.Addr().Zone() != "" {
		suggestion := ""
		if port, err := strconv.ParseUint(strings.TrimPrefix(v, ":"), 10, 16); err == nil {
			suggestion = " Did you mean \"127.0.0.1:" + strconv.FormatUint(port, 10) + "\"?"
		}
		r.Fault(b.Listen, "Not an address and a port",
			"\"listen\" must be an address and a port, as in \"127.0.0.1:9590\".%s", suggestion)
		return
	}
	*into = at
	if b.TLS == nil && !at.Addr().IsLoopback() {
		r.Warn(b.Listen, "status.listen is %s: whoever listens on the way sees the password; set status.tls", at)
	}
}

// checkPair wants a certificate and its key together.
func checkPair(r *settings.Reader, cert, key *hcl.Attribute) {
	switch {
	case cert != nil && key == nil:
		r.Fault(cert, "A certificate without its key", "\"cert\" needs \"key\" beside it.")
	case key != nil && cert == nil:
		r.Fault(key, "A key without its certificate", "\"key\" needs \"cert\" beside it.")
	}
}

// Login is who may see everything, wherever that was configured; drawn says that
// nobody was, and somebody was invented.
func (s Status) Login() (user, password string, drawn bool, err error) {
	if s.User == "" {
		return newInstanceID(), newInstanceID(), true, nil
	}
	if s.PasswordFile == "" {
		return s.User, s.Password, false, nil
	}
	password, err = readSecret(s.PasswordFile)
	if err == nil && password == "" {
		err = fmt.Errorf("%s is empty", s.PasswordFile)
	}
	return s.User, password, false, err
}

// serverTLS is nil where the node speaks in the clear.
func (s StatusTLS) serverTLS() (*tls.Config, error) {
	if s.Cert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(s.Cert, s.Key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}
