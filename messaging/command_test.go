package messaging

import (
	"strings"
	"testing"
)

func TestARedactedURIShowsWhereAndNoSecret(t *testing.T) {
	for uri, want := range map[string]string{
		"http://blob:s3cret@blobs.example.com:8080/cc/5d?x=1":  "http://blobs.example.com:8080/cc/5d",
		"https://blobs.example.com/5d?Signature=s3cret#s3cret": "https://blobs.example.com/5d",
		"file:///var/vcap/droplets/5d.tgz":                     "file:///var/vcap/droplets/5d.tgz",
		"http://user:s3cret#@host:port/":                       "(a URI that can't be read)",
		"http://user:s3cret@ho st/":                            "(a URI that can't be read)",
		"":                                                     "",
	} {
		got := Droplet{URI: uri}.Redacted()
		if got != want || strings.Contains(got, "s3cret") {
			t.Errorf("%s: got %s, want %s", uri, got, want)
		}
	}
}
