package directory

import (
	"crypto/hmac"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestALinkIsSignedAsTheWireHasIt(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	s := &Signer{Key: []byte("key"), Protocol: "http", Host: "0f.example", Lifetime: time.Hour, Now: func() time.Time { return at }}
	const query = "path=%2Flogs%2Fa+b%26%C3%A9&timestamp=1700000000"
	mac := hmac.New(sha512.New, []byte("key"))
	mac.Write([]byte("/instance_paths/9c1d8e7f?" + query))
	want := "http://0f.example/instance_paths/9c1d8e7f?hmac=" + hex.EncodeToString(mac.Sum(nil)) + "&" + query
	got := s.URL("9c1d8e7f", "/logs/a b&é")
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	link, err := url.Parse(got)
	if err != nil {
		t.Fatal(err)
	}
	if instance, path, err := s.check(link); instance != "9c1d8e7f" || path != "/logs/a b&é" || err != nil {
		t.Errorf("it is to %q of %q, %v", path, instance, err)
	}
}

// parts of a link, so that they can be put together wrongly.
func parts(t *testing.T, link string) (base, sum, path, timestamp string) {
	t.Helper()
	u, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	return u.Scheme + "://" + u.Host + u.EscapedPath(), q.Get("hmac"), url.QueryEscape(q.Get("path")), q.Get("timestamp")
}

func TestAForgedLinkOpensNothing(t *testing.T) {
	s := newStage(t, time.Minute)
	s.write("logs/out", "said")
	base, sum, path, at := parts(t, s.link("/logs/out"))
	_, other, _, _ := parts(t, s.link("/"))
	host := strings.TrimSuffix(base, "/instance_paths/here")
	flipped := strings.Replace(sum, sum[:1], string(sum[0]^1), 1)
	const unauthorized, missing = http.StatusUnauthorized, http.StatusNotFound
	for link, want := range map[string]int{
		base: unauthorized,
		base + "?path=" + path + "&timestamp=" + at:                                                 unauthorized,
		base + "?hmac=&path=" + path + "&timestamp=" + at:                                           unauthorized,
		base + "?hmac=" + other + "&path=" + path + "&timestamp=" + at:                              unauthorized,
		base + "?hmac=" + flipped + "&path=" + path + "&timestamp=" + at:                            unauthorized,
		base + "?hmac=" + sum[:127] + "&path=" + path + "&timestamp=" + at:                          unauthorized,
		base + "?hmac=" + sum + "0&path=" + path + "&timestamp=" + at:                               unauthorized,
		base + "?hmac=" + strings.ToUpper(sum) + "&path=" + path + "&timestamp=" + at:               unauthorized,
		base + "?hmac=" + sum + "&path=%2Flogs&timestamp=" + at:                                     unauthorized,
		base + "?hmac=" + sum + "&path=" + path + "%00&timestamp=" + at:                             unauthorized,
		base + "?hmac=" + sum + "&path=" + path + "&timestamp=" + at + "0":                          unauthorized,
		base + "?hmac=" + sum + "&path=" + path + "&timestamp=":                                     unauthorized,
		base + "?hmac=" + sum + "&path=" + path:                                                     unauthorized,
		base + "?hmac=" + sum + "&timestamp=" + at:                                                  unauthorized,
		base + "?hmac=" + sum + "&path=" + path + "&path=%2F&timestamp=" + at:                       unauthorized,
		base + "?path=%2F&hmac=" + sum + "&path=" + path + "&timestamp=" + at:                       unauthorized,
		base + "?hmac=" + other + "&hmac=" + sum + "&path=" + path + "&timestamp=" + at:             unauthorized,
		base + "?hmac=" + sum + "&path=" + path + "&timestamp=" + at + "&timestamp=9999999999":      unauthorized,
		base + "?hmac=" + sum + "&Path=" + path + "&timestamp=" + at:                                unauthorized,
		base + "?hmac=" + sum + ";path=" + path + ";timestamp=" + at:                                unauthorized,
		base + "?hmac=" + sum + "&path=" + path + "&timestamp=" + at + "&x=%zz":                     unauthorized,
		host + "/instance_paths/other?hmac=" + sum + "&path=" + path + "&timestamp=" + at:           unauthorized,
		host + "/instance_paths/her%65?hmac=" + sum + "&path=" + path + "&timestamp=" + at:          unauthorized,
		host + "/instance_paths/%2e%2e?hmac=" + sum + "&path=" + path + "&timestamp=" + at:          unauthorized,
		host + "/instance_paths/..?hmac=" + sum + "&path=" + path + "&timestamp=" + at:              unauthorized,
		host + "/instance_paths/x%2f..%2fhere?hmac=" + sum + "&path=" + path + "&timestamp=" + at:   unauthorized,
		host + "/instance_paths/here%00?hmac=" + sum + "&path=" + path + "&timestamp=" + at:         unauthorized,
		host + "/instance_paths/x/../here?hmac=" + sum + "&path=" + path + "&timestamp=" + at:       missing,
		host + "/instance_paths/here/?hmac=" + sum + "&path=" + path + "&timestamp=" + at:           missing,
		host + "/instance_paths//here?hmac=" + sum + "&path=" + path + "&timestamp=" + at:           missing,
		host + "//instance_paths/here?hmac=" + sum + "&path=" + path + "&timestamp=" + at:           missing,
		host + "/instance_paths/?hmac=" + sum + "&path=" + path + "&timestamp=" + at:                missing,
		host + "/staging_tasks/here/file_path?hmac=" + sum + "&path=" + path + "&timestamp=" + at:   missing,
		host + "/../instance_paths/here?hmac=" + sum + "&path=" + path + "&timestamp=" + at:         missing,
		host + "/?hmac=" + sum + "&path=" + path + "&timestamp=" + at + strings.Repeat("&a=b", 100): missing,
	} {
		answer := s.get(link)
		if answer.StatusCode != want {
			t.Errorf("%s: %d", link, answer.StatusCode)
		}
		if body := s.body(answer); want == unauthorized && body != `{"error":"Invalid HMAC"}` {
			t.Errorf("%s: %s", link, body)
		}
	}
	if n := s.files.opened.Load(); n != 0 {
		t.Errorf("%d files were opened", n)
	}
	// The link itself, its parameters in another order, and one beside them.
	for _, link := range []string{
		s.link("/logs/out"), base + "?timestamp=" + at + "&path=" + path + "&hmac=" + sum, s.link("/logs/out") + "&other=x",
	} {
		if body := s.body(s.get(link)); body != "said" {
			t.Errorf("%s: %s", link, body)
		}
	}
}

func TestALinkHasALifetime(t *testing.T) {
	s := newStage(t, time.Minute)
	s.write("f", "content")
	for age, want := range map[time.Duration]string{
		0: "content", time.Hour: "content", time.Hour + time.Second: `{"error":"Url expired"}`, 1e5 * time.Hour: `{"error":"Url expired"}`,
		// The clock was set back since.
		-time.Hour: "content", -time.Hour - 2*time.Second: `{"error":"Url expired"}`,
	} {
		now := time.Now()
		s.signer.Now = func() time.Time { return now.Add(-age) }
		link := s.link("f")
		s.signer.Now = func() time.Time { return now }
		answer := s.get(link)
		if body := s.body(answer); body != want || (answer.StatusCode == http.StatusBadRequest) != (want != "content") {
			t.Errorf("%s old: %d %s", age, answer.StatusCode, body)
		}
	}
}

// Whatever a link is, it is refused or was signed here, with exactly that instance,
// path and time.
func FuzzLink(f *testing.F) {
	at := time.Unix(1_700_000_000, 0)
	s := &Signer{Key: []byte("key"), Protocol: "http", Host: "h", Lifetime: time.Hour, Now: func() time.Time { return at }}
	good := s.URL("here", "/logs/out")
	f.Add(good)
	for _, change := range []string{"&path=/", "&tail", "&hmac=0", ";x", "%00", "#frag", "/..", "&timestamp=1"} {
		f.Add(good + change)
	}
	f.Add(strings.Replace(good, "here", "%68ere", 1))
	f.Add(strings.Replace(good, "/logs", "/../", 1))
	f.Add("http://h/instance_paths/here?path=..&timestamp=1700000000&hmac=" + strings.Repeat("0", 128))
	f.Fuzz(func(t *testing.T, text string) {
		link, err := url.ParseRequestURI(text)
		if err != nil {
			return
		}
		instance, path, err := s.check(link)
		if err != nil {
			if instance != "" || path != "" {
				t.Errorf("refused, and yet it is to %q of %q", path, instance)
			}
			return
		}
		query, _ := url.ParseQuery(link.RawQuery)
		signedOf := fmt.Sprintf("/instance_paths/%s?path=%s&timestamp=%s", url.PathEscape(instance), url.QueryEscape(path),
			url.QueryEscape(query.Get("timestamp")))
		mac := hmac.New(sha512.New, []byte("key"))
		mac.Write([]byte(signedOf))
		if hex.EncodeToString(mac.Sum(nil)) != query.Get("hmac") {
			t.Errorf("%q is taken for %q of %q", text, path, instance)
		}
	})
}
