package bus

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/testsuite/logbook"
)

func TestAConfigurationThatCantWorkIsAnErrorAtOnce(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]Config{
		"bus: servers: there is none":                                {},
		`bus: servers[1]: "http://a:1" is not like nats://host:port`: {Servers: []string{"nats://a", "http://a:1"}},
		`bus: servers[0]: "nats://" is not like nats://host:port`:    {Servers: []string{"nats://"}},
		`bus: servers[0]: "a:1,b:2" is not like nats://host:port`:    {Servers: []string{"a:1,b:2"}},
		`bus: servers[0]: "nats://...@h:x" is not like nats://host:port`: {
			Servers: []string{"nats://user:s3cret@h:x"}},
		`bus: servers[0]: "...@h:x" is not like nats://host:port`:        {Servers: []string{"user:s3cret@h:x"}},
		`bus: servers[0]: "nats://...@h:1" is not like nats://host:port`: {Servers: []string{"nats://u:s3cret#@h:1"}},
		"bus: credentials: only one kind can be used, but there are token and user": {
			Servers: []string{"a"}, User: "u", Password: "s3cret", Token: "s3cret"},
		"bus: credentials: there is a password but no user": {Servers: []string{"a"}, Password: "s3cret"},
		"bus: nkey seed file /nowhere: nats: open /nowhere: no such file or directory": {
			Servers: []string{"a"}, NkeySeedFile: "/nowhere"},
		"bus: nkey seed file " + empty + ": nkeys: no nkey seed found": {Servers: []string{"a"}, NkeySeedFile: empty},
		"bus: creds file /nowhere: nats: open /nowhere: no such file or directory": {
			Servers: []string{"a"}, CredsFile: "/nowhere"},
		"bus: tls: a certificate and its key come together, but there is only one of them": {
			Servers: []string{"a"}, TLS: TLS{Cert: "c"}},
		"/nowhere: no such file or directory": {Servers: []string{"a"}, TLS: TLS{CA: "/nowhere"}},
		"/nothing: no such file or directory": {Servers: []string{"a"}, TLS: TLS{Cert: "/nothing", Key: "/nothing"}},
		`from "` + empty + `"`:                {Servers: []string{"a"}, TLS: TLS{CA: empty}},
	} {
		c.NodeID, c.Log = nodeID, logbook.New().Logger()
		_, err := Open(t.Context(), c)
		if err == nil || !strings.HasPrefix(err.Error(), "bus: ") || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("error %v\nwant  %s", err, want)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("a secret is in %v", err)
		}
	}
	_, err := Open(t.Context(), Config{Servers: []string{"a"}, NodeID: "a.b", Log: logbook.New().Logger()})
	if err == nil || !strings.Contains(err.Error(), "node id") {
		t.Errorf("error %v", err)
	}
}

// authority makes certificates that last an hour.
type authority struct {
	t           *testing.T
	dir         string
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.certificate, a.key = a.make("ca", x509.Certificate{
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return a
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// make writes <name>.pem and <name>.key; the first of all signs itself.
func (a *authority) make(name string, template x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber, template.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	parent, signer := a.certificate, a.key
	if parent == nil {
		parent, signer = &template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".pem", "CERTIFICATE", der)
	a.write(name+".key", "PRIVATE KEY", secret)
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return certificate, key
}

func (a *authority) write(name, kind string, der []byte) {
	a.t.Helper()
	if err := os.WriteFile(a.file(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// startSecureServer wants a user, a password and a client's certificate.
func startSecureServer(t *testing.T, a *authority) *natsServer {
	t.Helper()
	a.make("server", x509.Certificate{
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	a.make("client", x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	pair, err := tls.LoadX509KeyPair(a.file("server.pem"), a.file("server.key"))
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AddCert(a.certificate)
	return startServer(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "node", Password: "s3cret"}}
		o.TLSTimeout = patience.Seconds()
		o.TLSConfig = &tls.Config{
			Certificates: []tls.Certificate{pair}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert,
		}
	})
}

func TestTLSWithAUserAndAPasswordWorksAsConfigured(t *testing.T) {
	a := newAuthority(t)
	s := startSecureServer(t, a)
	log := logbook.New()
	c := Config{
		Servers: []string{s.url}, User: "node", Password: "s3cret",
		TLS: TLS{CA: a.file("ca.pem"), Cert: a.file("client.pem"), Key: a.file("client.key")},
	}
	b := openBus(t, log, c)
	commands := listen(t, b)
	c.Log = log.Logger()
	client, err := Dial(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Publish(t.Context(), "router.start", nil); err != nil {
		t.Fatal(err)
	}
	if cmd := receive(t, commands); cmd != (messaging.RouterStarted{}) {
		t.Errorf("heard %+v", cmd)
	}
}

// A node goes on trying, for the password may be put right at the server; a
// command line says so and ends. Neither tells the password.
func TestAWrongPasswordIsSaidAndNotShown(t *testing.T) {
	a := newAuthority(t)
	s := startSecureServer(t, a)
	log := logbook.New()
	c := Config{
		Servers: []string{strings.Replace(s.url, "nats://", "tls://node:wr0ng@", 1)},
		TLS:     TLS{CA: a.file("ca.pem"), Cert: a.file("client.pem"), Key: a.file("client.key")},
	}
	b := openBus(t, log, c)
	log.Wait(t, "Authorization Violation")
	if b.Connected() {
		t.Error("connected with a wrong password")
	}
	c.Log = log.Logger()
	_, err := Dial(t.Context(), c)
	if err == nil || !strings.Contains(err.Error(), "Authorization Violation") || strings.Contains(err.Error(), "wr0ng") {
		t.Errorf("error %v", err)
	}
	if strings.Contains(log.String(), "wr0ng") {
		t.Errorf("the log shows the password:\n%s", log)
	}
}

func TestAnUnknownAuthorityIsNotTrusted(t *testing.T) {
	s := startSecureServer(t, newAuthority(t))
	other := newAuthority(t)
	_, err := Dial(t.Context(), Config{
		Servers: []string{s.url}, TLS: TLS{CA: other.file("ca.pem")}, Log: logbook.New().Logger(),
	})
	if err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("error %v", err)
	}
}

func TestANkeySeedFileLogsIn(t *testing.T) {
	key, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, _ := key.PublicKey()
	seed, _ := key.Seed()
	file := filepath.Join(t.TempDir(), "seed")
	if err := os.WriteFile(file, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	s := startServer(t, func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} })
	if b := openBus(t, logbook.New(), Config{Servers: []string{s.url}, NkeySeedFile: file}); !b.Connected() {
		t.Error("not connected")
	}
	if _, err := Dial(t.Context(), Config{Servers: []string{s.url}, Log: logbook.New().Logger()}); err == nil {
		t.Error("connected without a key")
	}
}

func TestAPermissionThatIsMissingIsLogged(t *testing.T) {
	s := startServer(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "node", Password: "p", Permissions: &server.Permissions{
			Subscribe: &server.SubjectPermission{Deny: []string{"dea.stop"}},
			Publish:   &server.SubjectPermission{Deny: []string{"dea.heartbeat"}},
		}}}
	})
	log := logbook.New()
	b := openBus(t, log, Config{Servers: []string{s.url}, User: "node", Password: "p"})
	listen(t, b)
	log.Wait(t, `Permissions Violation for Subscription to \"dea.stop\"`)
	b.Publish(messaging.Beat{NodeID: nodeID})
	log.Wait(t, `Permissions Violation for Publish to \"dea.heartbeat\"`)
}
