package legacy_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/deacon-agent/deacon/agent/legacy"
)

func startCheck(t *testing.T) *legacy.HealthCheck {
	t.Helper()
	before := goleak.IgnoreCurrent()
	check, err := legacy.StartHealthCheck(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := check.Close(); err != nil {
			t.Error(err)
		}
		goleak.VerifyNone(t, before)
	})
	return check
}

func dial(t *testing.T, check *legacy.HealthCheck) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", check.Address().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// The old check sent any bytes and looked for the first line (wire/warden.md h).
func TestAnyBytesAreAnsweredWithOKAndTheConnectionEnds(t *testing.T) {
	check := startCheck(t)
	for _, bytes := range []string{
		"x", "\r\n", "GET / HTTP/1.0\r\n\r\n", "POST /a HTTP/1.1\r\nContent-Length: 70000\r\n\r\n" + strings.Repeat("a", 70000),
	} {
		conn := dial(t, check)
		if _, err := io.WriteString(conn, bytes); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(conn)
		if !strings.HasPrefix(string(got), "HTTP/1.1 200 OK\r\n") || err != nil {
			t.Errorf("%.20q: the answer is %q, %v", bytes, got, err)
		}
		conn.Close()
	}
}

func TestTheAnswerIsWholeHTTP(t *testing.T) {
	check := startCheck(t)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
		request, err := http.NewRequestWithContext(t.Context(), method, "http://"+check.Address().String()+"/any", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != http.StatusOK || err != nil || method != http.MethodHead && string(body) != "ok\n" {
			t.Errorf("%s: %s, %q, %v", method, response.Status, body, err)
		}
	}
}

// Checks that say nothing hold neither the others up nor the end.
func TestSilentChecksHoldNothingUp(t *testing.T) {
	check := startCheck(t)
	for range 40 {
		dial(t, check)
	}
	conn := dial(t, check)
	fmt.Fprint(conn, "x")
	if got, err := io.ReadAll(conn); len(got) == 0 || err != nil {
		t.Errorf("the answer is %q, %v", got, err)
	}
}

func TestAPortThatIsTakenIsNamed(t *testing.T) {
	check := startCheck(t)
	_, err := legacy.StartHealthCheck(check.Address())
	if err == nil || !strings.Contains(err.Error(), check.Address().String()) {
		t.Errorf("error is %v, want one with the address", err)
	}
}

func TestAfterItsEndNobodyAnswers(t *testing.T) {
	check := startCheck(t)
	if err := check.Close(); err != nil {
		t.Fatal(err)
	}
	if conn, err := net.Dial("tcp", check.Address().String()); err == nil {
		conn.Close()
		t.Error("somebody answers")
	}
}
