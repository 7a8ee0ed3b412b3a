package staging

import (
	"archive/tar"
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// withManifest is an ordinary droplet with a droplet.yaml.
func withManifest(t *testing.T, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	h := tar.Header{Typeflag: tar.TypeReg, Name: "./" + manifestName, Mode: 0o644, Size: int64(len(text))}
	if err := w.WriteHeader(&h); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(w, text)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return append(out.Bytes(), tarOf(t, ordinary()...)...)
}

func TestADropletSaysWhereItsStateIs(t *testing.T) {
	c, s := openCache(t, Options{}), newStore(t)
	for text, want := range map[string]string{
		"": "", "---\nstate_file: tomcat/state.json\nmore: [1]\n": "tomcat/state.json", "state_file: ''\n": "", "raw: true\n": "",
		"state_file: a/../b\n": "a/../b",
	} {
		source := s.add(withManifest(t, text))
		for range 2 { // the second time from the record
			if d := mustFetch(t, c, source); d.StateFile != want {
				t.Errorf("%q: the state file is %q, want %q", text, d.StateFile, want)
			}
		}
	}
}

func TestAStateFileOutsideOfTheDropletIsRefused(t *testing.T) {
	c, s := openCache(t, Options{}), newStore(t)
	for text, want := range map[string]string{
		"state_file: /etc/passwd\n":      "state_file is no path within the droplet",
		"state_file: ../../etc/passwd\n": "state_file is no path within the droplet",
		"state_file: \"a\\0b\"\n":        "state_file is no path within the droplet",
		"state_file: [a]\n":              manifestName + " is wrong",
		"state_file: {":                  manifestName + " is wrong",
		strings.Repeat("#", infoMax+1):   "bytes of " + manifestName,
	} {
		if _, err := c.Fetch(t.Context(), s.add(withManifest(t, text))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: error is %v, want one with %q", text, err, want)
		}
	}
	link := tar.Header{Typeflag: tar.TypeSymlink, Name: manifestName, Linkname: "/etc/passwd"}
	_, err := c.Fetch(t.Context(), s.add(tarOf(t, append(ordinary(), link)...)))
	if err == nil || !strings.Contains(err.Error(), "has to be a file") {
		t.Errorf("a link: error is %v", err)
	}
	expectNothing(t, c)
}
