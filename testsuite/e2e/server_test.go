package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

// A NATS server as operators run it: Debian's package, in a process of its
// own, with a user, a password and TLS.
func TestARealServerWithUserPasswordAndTLS(t *testing.T) {
	program, err := exec.LookPath("nats-server")
	if err != nil {
		t.Fatal("Debian's package nats-server is missing; `make setup` installs it")
	}
	folder := t.TempDir()
	certificate(t, folder)
	url := serveNATS(t, program, folder)
	secure := nats.RootCAs(filepath.Join(folder, "cert.pem"))
	s := &stage{t: t, blobs: rig.NewDropletServer(t)}
	s.ctl = rig.NewController(t, url, secure, nats.UserInfo("deacon", "s3cret"))
	s.node = rig.StartNode(t, rig.Options{NATS: url, Config: sharedDisk, NATSHCL: fmt.Sprintf(`
  user     = "deacon"
  password = "s3cret"
  tls { ca = %q }`, filepath.Join(folder, "cert.pem"))})
	s.meet()
	s.serve = s.blobs.Add("./app", application(t))
	if body := s.running("web", nil).ask("/"); body != "hello from 0\n" {
		t.Errorf("it answers %q", body)
	}
	s.stop("web")
}

// serveNATS runs the server until the test ends and returns where it listens.
func serveNATS(t *testing.T, program, folder string) string {
	t.Helper()
	text := fmt.Sprintf("authorization { user: deacon, password: s3cret }\ntls { cert_file: %q, key_file: %q }\n",
		filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem"))
	return "tls://" + runNATS(t, program, folder, text)
}

// runNATS runs the server with a configuration, in a folder that has what it names.
func runNATS(t *testing.T, program, folder, text string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String() // nobody else is in this network namespace to take it
	l.Close()
	config := filepath.Join(folder, "nats.conf")
	text = fmt.Sprintf("listen: %q\n%s\n", address, text)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	server := exec.Command(program, "-c", config)
	if testing.Verbose() {
		server.Stderr = os.Stderr
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Process.Kill()
		server.Wait()
	})
	for deadline := time.Now().Add(soon); ; {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			return address
		}
		if time.Now().After(deadline) {
			t.Fatal("nats-server does not listen:", err)
		}
		time.Sleep(10 * time.Millisecond) // a process of somebody else's gives no event to wait for
	}
}

// certificate writes one for 127.0.0.1 that is its own authority.
func certificate(t *testing.T, folder string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "nats of a test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := tls.LoadX509KeyPair(filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")); err != nil {
		t.Fatal(err)
	}
}
