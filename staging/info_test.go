package staging

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestADropletSaysWhetherAShellHasToReadItsProfile(t *testing.T) {
	c, s := openCache(t, Options{}), newStore(t)
	folder := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755} }
	link := tar.Header{Typeflag: tar.TypeSymlink, Name: "app/.profile.d", Linkname: "/anywhere"}
	for name, test := range map[string]struct {
		entries []tar.Header
		want    bool
	}{
		"none":                       {nil, false},
		"an empty folder":            {[]tar.Header{folder("app/.profile.d/")}, false},
		"a file of that name":        {[]tar.Header{header("app/.profile.d", 0o644)}, false},
		"a script":                   {[]tar.Header{header("app/.profile.d/a b.sh", 0o644)}, true},
		"one that nobody may read":   {[]tar.Header{header("app/.profile.d/a.sh", 0)}, true},
		"something else":             {[]tar.Header{header("app/.profile.d/a.bash", 0o755), header("app/.profile.d/sh", 0o644)}, false},
		"one below another folder":   {[]tar.Header{header("app/.profile.d/more/a.sh", 0o644)}, false},
		"one where nobody looks":     {[]tar.Header{header(".profile.d/a.sh", 0o644), header("app/.profile", 0o644)}, false},
		"a link that leads anywhere": {[]tar.Header{link}, true},
	} {
		d := mustFetch(t, c, s.add(tarOf(t, append(ordinary(), test.entries...)...)))
		if d.ProfileScripts != test.want {
			t.Errorf("%s: %v, want %v", name, d.ProfileScripts, test.want)
		}
	}
}

// The record of an agent that didn't look says nothing, and nothing is not "none".
func TestAnOldRecordMayHaveProfileScripts(t *testing.T) {
	c, s := openCache(t, Options{}), newStore(t)
	source := s.add(droplet(t, ""))
	path := filepath.Join(c.dir, mustFetch(t, c, source).Digest, recordName)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	old := bytes.Replace(text, []byte(`"profile_scripts":false,`), nil, 1)
	if len(old) == len(text) {
		t.Fatalf("the record doesn't have the field: %s", text)
	}
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}

	d := mustFetch(t, c, source)

	if !d.ProfileScripts || s.asked.Load() != 1 {
		t.Errorf("got %+v after %d downloads; want the layer that was there, to be started by a script", d, s.asked.Load())
	}
}
