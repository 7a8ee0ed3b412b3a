package staging

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func header(name string, mode int64) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: 3}
}

func TestAWrongDigestKeepsNothing(t *testing.T) {
	content := gzipped(t, droplet(t, ""))
	right := sourceOf(content)
	zeros := func(n int) string { return strings.Repeat("0", n) }
	for name, test := range map[string]struct {
		source Source
		want   DigestError
	}{
		"sha1":   {Source{SHA1: zeros(40)}, DigestError{"sha1-" + zeros(40), "sha1-" + right.SHA1}},
		"sha256": {Source{SHA256: zeros(64)}, DigestError{"sha256-" + zeros(64), "sha256-" + right.SHA256}},
		"sha256, sha1 is right": {Source{SHA1: right.SHA1, SHA256: zeros(64)},
			DigestError{"sha256-" + zeros(64), "sha256-" + right.SHA256}},
		"sha1, sha256 is right": {Source{SHA1: zeros(40), SHA256: right.SHA256},
			DigestError{"sha1-" + zeros(40), "sha1-" + right.SHA1}},
	} {
		t.Run(name, func(t *testing.T) {
			c := openCache(t, Options{})
			test.source.URI = newStore(t).add(content).URI

			_, err := c.Fetch(t.Context(), test.source)

			if wrong, ok := errors.AsType[*DigestError](err); !ok || *wrong != test.want {
				t.Errorf("error is %v, want %v", err, &test.want)
			}
			expectNothing(t, c)
		})
	}
}

// An error page sent with status 200 is no archive, but what matters is that
// it isn't what was asked for. The same goes for a droplet that ends early.
func TestTheDigestIsNamedBeforeTheFormat(t *testing.T) {
	whole := gzipped(t, droplet(t, ""))
	for name, content := range map[string][]byte{
		"page": []byte("<html>sorry</html>"),
		"cut":  whole[:len(whole)-9],
	} {
		c, s := openCache(t, Options{}), newStore(t)
		source := sourceOf(whole)
		source.URI = s.add(content).URI

		_, err := c.Fetch(t.Context(), source)

		if _, ok := errors.AsType[*DigestError](err); !ok {
			t.Errorf("%s: error is %v, want a DigestError", name, err)
		}
		expectNothing(t, c)
	}
}

func TestEitherDigestIsEnoughInAnyCase(t *testing.T) {
	c, s := openCache(t, Options{}), newStore(t)
	source := s.add(droplet(t, ""))
	for _, asked := range []Source{
		{URI: source.URI, SHA1: strings.ToUpper(source.SHA1)},
		{URI: source.URI, SHA256: strings.ToUpper(source.SHA256)},
	} {
		want := "sha1-" + source.SHA1
		if asked.SHA1 == "" {
			want = "sha256-" + source.SHA256
		}
		if d := mustFetch(t, c, asked); d.Digest != want || filepath.Base(filepath.Dir(d.Layer)) != want {
			t.Errorf("got %+v, want %s", d, want)
		}
	}
}

func TestWhatIsNoSourceIsRefusedUntried(t *testing.T) {
	digest := strings.Repeat("a", 40)
	c := openCache(t, Options{})
	for name, test := range map[string]struct {
		source Source
		says   string
	}{
		"no digest":    {Source{URI: "http://127.0.0.1/x"}, "neither sha1 nor sha256"},
		"short sha1":   {Source{URI: "http://127.0.0.1/x", SHA1: "abc"}, "40 hexadecimal"},
		"climbing":     {Source{URI: "http://host/x", SHA1: "../.." + digest[5:]}, "40 hexadecimal"},
		"short sha256": {Source{URI: "http://127.0.0.1/x", SHA256: digest}, "64 hexadecimal"},
		"no uri":       {Source{SHA1: digest}, "scheme"},
		"ftp":          {Source{URI: "ftp://127.0.0.1/x", SHA1: digest}, "scheme"},
		"no host":      {Source{URI: "http:///x", SHA1: digest}, "names no host"},
		"file":         {Source{URI: "file:///etc/passwd", SHA1: digest}, "not allowed"},
		"opaque":       {Source{URI: "http:127.0.0.1", SHA1: digest}, "names no host"},
	} {
		_, err := c.Fetch(t.Context(), test.source)
		if !errors.Is(err, ErrSource) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: error is %v, want %q", name, err, test.says)
		}
	}
	expectNothing(t, c)
}

func TestOnlyStatus200IsADroplet(t *testing.T) {
	content := droplet(t, "")
	for _, code := range []int{201, 203, 206, 304, 401, 403, 404, 500, 503} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			w.Write(content)
		}))
		c := openCache(t, Options{})
		source := sourceOf(content)
		source.URI = server.URL

		_, err := c.Fetch(t.Context(), source)

		if status, ok := errors.AsType[*StatusError](err); !ok || status.Code != code {
			t.Errorf("error is %v, want status %d", err, code)
		}
		expectNothing(t, c)
		server.Close()
	}
}

func TestABodyThatBreaksOffKeepsNothing(t *testing.T) {
	content := gzipped(t, droplet(t, ""))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		w.Write(content[:len(content)/2])
	}))
	defer server.Close()
	c := openCache(t, Options{})
	source := sourceOf(content)
	source.URI = server.URL

	if _, err := c.Fetch(t.Context(), source); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error is %v, want an unexpected end", err)
	}
	expectNothing(t, c)
}

// slow is a transport to a server that answers as serve says, over a pipe, so
// that its time is the test's.
func slow(serve func(net.Conn)) *http.Transport {
	transport := newTransport()
	transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		go func() {
			defer there.Close()
			if _, err := http.ReadRequest(bufio.NewReader(there)); err == nil {
				serve(there)
			}
			io.Copy(io.Discard, there) // until the client hangs up
		}()
		return here, nil
	}
	return transport
}

func TestNothingForAWhileEndsADownload(t *testing.T) {
	content := gzipped(t, droplet(t, ""))
	for name, serve := range map[string]func(net.Conn){
		"no answer": func(net.Conn) {},
		"half a body": func(c net.Conn) {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(content), content[:len(content)/2])
		},
	} {
		t.Run(name, func(t *testing.T) {
			needRoot(t)
			synctest.Test(t, func(t *testing.T) {
				c := openCache(t, Options{Transport: slow(serve)})
				source := sourceOf(content)
				source.URI = "http://store/droplet"
				began := time.Now()

				_, err := c.Fetch(t.Context(), source)

				if err == nil || !strings.Contains(err.Error(), "nothing arrived for 30s") {
					t.Errorf("error is %v", err)
				}
				if took := time.Since(began); took != 30*time.Second {
					t.Errorf("it took %s", took)
				}
				expectNothing(t, c)
			})
		})
	}
}

// A slow line is no reason to give up: bytes that come every 29 s, for hours.
func TestADownloadMayTakeLong(t *testing.T) {
	needRoot(t)
	content := gzipped(t, droplet(t, "start_command: at last\n"))
	synctest.Test(t, func(t *testing.T) {
		c := openCache(t, Options{Transport: slow(func(c net.Conn) {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(content))
			for i := range content {
				time.Sleep(29 * time.Second)
				c.Write(content[i : i+1])
			}
		})})
		source := sourceOf(content)
		source.URI = "http://store/droplet"
		if d := mustFetch(t, c, source); d.StartCommand != "at last" {
			t.Errorf("got %+v", d)
		}
	})
}

func TestCredentialsAreUsedAndNeverPrinted(t *testing.T) {
	const user, password, signature = "blobuser", "hunter2", "5ecret"
	content := droplet(t, "")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, p, ok := r.BasicAuth()
		switch {
		case !ok || u != user || p != password:
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/droplet":
			w.Write(content)
		case r.URL.Path == "/elsewhere":
			w.Header().Set("Location", "gopher://"+user+":"+password+"@host/?"+signature)
			w.WriteHeader(http.StatusFound)
		case r.URL.Path == "/unparsable":
			w.Header().Set("Location", "http://"+user+":"+password+"%zz@host/?"+signature)
			w.WriteHeader(http.StatusFound)
		case r.URL.Path == "/refused":
			w.Header().Set("Location", "http://"+user+":"+password+"@127.0.0.1:1/?"+signature)
			w.WriteHeader(http.StatusFound)
		case r.URL.Path == "/loop":
			w.Header().Set("Location", "/loop?"+signature)
			w.WriteHeader(http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	with := func(path string) string {
		return fmt.Sprintf("http://%s:%s@%s%s?sig=%s#%s", user, password, host, path, signature, signature)
	}
	c := openCache(t, Options{})
	source := sourceOf(content)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, uri := range map[string]string{
		"404":              with("/missing"),
		"other scheme":     with("/elsewhere"),
		"unparsable":       with("/unparsable"),
		"refused redirect": with("/refused"),
		"endless":          with("/loop"),
		"refused":          "http://" + user + ":" + password + "@127.0.0.1:1/x?" + signature,
		"wrong password":   "http://" + user + ":" + password + "x@" + host + "/droplet",
		"bad port":         "http://" + user + ":" + password + "/@" + host + "/droplet",
		"bad escape":       "http://" + user + ":" + password + "%zz@" + host + "/droplet",
		"bad scheme":       "s3://" + user + ":" + password + "@" + host + "/droplet",
		"no scheme":        user + ":" + password + "@" + host,
		"cancelled":        with("/droplet"),
	} {
		source.URI = uri
		ctx := t.Context()
		if name == "cancelled" {
			ctx = cancelled
		}
		_, err := c.Fetch(ctx, source)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, secret := range []string{user, password, signature} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: %q tells %q", name, err, secret)
			}
		}
	}
	source.URI = with("/droplet")
	mustFetch(t, c, source)
}

// Credentials follow a redirect within the place that they were given for, and
// go nowhere else.
func TestRedirectsAreFollowedWithoutCarryingCredentialsAway(t *testing.T) {
	content := droplet(t, "")
	var told []string
	blobs := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		told = append(told, "blobs "+r.Header.Get("Authorization"))
		w.Write(content)
	}))
	defer blobs.Close()
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, password, _ := r.BasicAuth()
		told = append(told, "front "+password)
		to := blobs.URL
		if r.URL.Path == "/a" {
			to = "b"
		}
		http.Redirect(w, r, to, http.StatusTemporaryRedirect)
	}))
	defer front.Close()
	c := openCache(t, Options{})
	source := sourceOf(content)
	u, _ := url.Parse(front.URL + "/a")
	u.User = url.UserPassword("me", "p w:@/%")
	source.URI = u.String()

	mustFetch(t, c, source)

	want := "front p w:@/%|front p w:@/%|blobs "
	if got := strings.Join(told, "|"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAFileIsFetchedWhereThatIsAllowed(t *testing.T) {
	content := droplet(t, "start_command: local\n")
	path := filepath.Join(t.TempDir(), "a droplet.tgz")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	c := openCache(t, Options{AllowFiles: true})
	source := sourceOf(content)
	source.URI = (&url.URL{Scheme: "file", Path: path}).String()
	if d := mustFetch(t, c, source); d.StartCommand != "local" {
		t.Errorf("got %+v", d)
	}
	for name, uri := range map[string]string{
		"missing": "file:///nothing/here", "folder": "file:///", "device": "file:///dev/zero",
		"relative": "file:here", "elsewhere": "file://host/x",
	} {
		if _, err := c.Fetch(t.Context(), Source{URI: uri, SHA1: strings.Repeat("0", 40)}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// The digest is that of the bytes on the wire, so a server that says that a
// .tgz is an encoding of a .tar must not make us decode it.
func TestABodyIsTakenAsItIsSent(t *testing.T) {
	content := gzipped(t, droplet(t, ""))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(content)
	}))
	defer server.Close()
	source := sourceOf(content)
	source.URI = server.URL
	mustFetch(t, openCache(t, Options{}), source)
}
