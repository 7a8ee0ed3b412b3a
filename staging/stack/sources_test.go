package stack

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAptsSourcesAreReadInBothForms(t *testing.T) {
	apt := t.TempDir()
	for name, text := range map[string]string{
		"sources.list": "# deb http://off.example/debian old main\ndeb http://one.example/debian bookworm main contrib # why\n" +
			"deb-src http://one.example/debian bookworm main\n" +
			"  deb [ arch=amd64 Signed-By=/k/A.gpg,/k/b.asc ] https://two.example/d bookworm-security main\nnonsense\n",
		"sources.list.d/b.sources": "Types: deb deb-src\n# a remark\nURIs: http://three.example/debian\n  http://four.example/debian\n" +
			"Suites: trixie trixie-updates\nComponents: main\nSigned-By: /k/c.gpg 0123456789ABCDEF0123456789ABCDEF01234567!\n\n" +
			"Types: deb\nEnabled: no\nURIs: http://off.example\nSuites: x\nComponents: main\n\n\n" +
			"types: deb\nuris: http://flat.example\nsuites: ./\n",
		"sources.list.d/key.sources": "Types: deb\nURIs: http://key.example/debian\nSuites: sid\nComponents: main\nSigned-By:\n " +
			armorBegin + "\n .\n AQID\n =abcd\n " + armorEnd + "\n",
		"sources.list.d/off.save": "deb http://off.example/debian off main\n",
	} {
		path := filepath.Join(apt, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := readSources(apt)
	if err != nil {
		t.Fatal(err)
	}
	main, c := []string{"main"}, []string{"/k/c.gpg"}
	list, stanzas := filepath.Join(apt, "sources.list"), filepath.Join(apt, "sources.list.d/b.sources")
	want := []source{
		{at: list + ":2", uri: "http://one.example/debian", suite: "bookworm", components: []string{"main", "contrib"}},
		{at: list + ":4", uri: "https://two.example/d", suite: "bookworm-security", components: main,
			signedBy: []string{"/k/A.gpg", "/k/b.asc"}},
		{at: stanzas + ":1", uri: "http://three.example/debian", suite: "trixie", components: main, signedBy: c},
		{at: stanzas + ":1", uri: "http://three.example/debian", suite: "trixie-updates", components: main, signedBy: c},
		{at: stanzas + ":1", uri: "http://four.example/debian", suite: "trixie", components: main, signedBy: c},
		{at: stanzas + ":1", uri: "http://four.example/debian", suite: "trixie-updates", components: main, signedBy: c},
		{at: stanzas + ":16", uri: "http://flat.example", suite: "./", components: []string{}},
		{at: filepath.Join(apt, "sources.list.d/key.sources") + ":1", uri: "http://key.example/debian", suite: "sid",
			components: main, key: "\n" + armorBegin + "\n.\nAQID\n=abcd\n" + armorEnd},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(source{})); diff != "" {
		t.Error(diff)
	}
	keys, err := got[len(got)-1].keyring()
	if err != nil || !bytes.Equal(keys, []byte{1, 2, 3}) {
		t.Errorf("the key is %v, %v", keys, err)
	}
	if none, err := readSources(t.TempDir()); err != nil || len(none) != 0 {
		t.Errorf("of nothing there is %v, %v", none, err)
	}
}

func TestSuiteAndMirrorAreTheMachinesUnlessAsked(t *testing.T) {
	main := []string{"main"}
	own := source{at: "list:1", uri: "http://one.example/debian", suite: "bookworm", components: main}
	other := source{at: "list:2", uri: "http://one.example/debian", suite: "trixie", components: main}
	vendor := source{uri: "http://vendor.example", suite: "tools", components: main}
	flat := source{uri: "http://flat.example", suite: "./", components: main}
	disc := source{uri: "cdrom:[x]/", suite: "bookworm", components: main}
	part := source{uri: "http://part.example", suite: "bookworm", components: []string{"extra"}}
	stable := source{uri: "http://two.example/debian", suite: "stable", components: main}
	all := []source{flat, disc, part, vendor, own, other}
	bookworm := release{"bookworm"}
	for what, test := range map[string]struct {
		sources              []source
		machine              release
		suite, mirror        string
		wantSuite, wantURI   string
		wantFrom, wantRemark bool
	}{
		"nothing asked":          {all, bookworm, "", "", "bookworm", own.uri, true, false},
		"a suite that is there":  {all, bookworm, "trixie", "", "trixie", own.uri, true, false},
		"one that isn't":         {all, bookworm, "sid", "", "sid", own.uri, true, true},
		"a mirror that is there": {all, bookworm, "", own.uri + "/", "bookworm", own.uri + "/", true, false},
		"a mirror that isn't":    {all, bookworm, "sid", "http://x.example", "sid", "http://x.example", false, false},
		"a suite by its state":   {[]source{stable}, bookworm, "", "", "stable", stable.uri, true, false},
		"no sources, a mirror":   {nil, bookworm, "", "http://x.example", "bookworm", "http://x.example", false, false},
		"no sources at all":      {nil, bookworm, "", "", "", "", false, false},
		"nothing known":          {[]source{flat, disc, part}, release{}, "", "http://x.example", "", "", false, false},
	} {
		p, err := chooseSource(test.sources, test.machine, test.suite, test.mirror)
		if (err != nil) != (test.wantSuite == "") {
			t.Errorf("%s: %v", what, err)
		}
		if p.suite != test.wantSuite || p.mirror != test.wantURI || (p.from.uri != "") != test.wantFrom || (p.note != "") != test.wantRemark {
			t.Errorf("%s: %+v", what, p)
		}
	}
	path := filepath.Join(t.TempDir(), "os-release")
	if err := os.WriteFile(path, []byte("ID=debian\nVERSION_CODENAME=\"trixie\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := readRelease(path); got.codename != "trixie" {
		t.Errorf("the machine is %+v", got)
	}
}

func TestKeysAreReadWhicheverWayTheyAreWritten(t *testing.T) {
	armored := func(key []byte) string {
		return armorBegin + "\nVersion: 1\nComment: of: a test\n\n" + base64.StdEncoding.EncodeToString(key) + "\n=1234\n" + armorEnd + "\n"
	}
	folder := t.TempDir()
	for name, text := range map[string]string{
		"a.gpg": "\x99binary", "b.asc": armored([]byte("first")) + armored([]byte("second")), "torn.asc": armored([]byte("x"))[:60],
		"noise.asc": armorBegin + "\n\n!!!\n" + armorEnd,
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func(names ...string) ([]byte, error) {
		s := source{at: "list:1"}
		for _, name := range names {
			s.signedBy = append(s.signedBy, filepath.Join(folder, name))
		}
		return s.keyring()
	}
	if keys, err := read("a.gpg", "b.asc"); err != nil || string(keys) != "\x99binaryfirstsecond" {
		t.Errorf("the keys are %q, %v", keys, err)
	}
	for name, want := range map[string]string{"torn.asc": "a key has no", "noise.asc": "isn't readable", "none.gpg": "no such file"} {
		_, err := read(name)
		expect(t, err, want)
		expect(t, err, "list:1: signed-by: ")
	}
}

func FuzzSources(f *testing.F) {
	f.Add("deb [signed-by=/a,/b] http://x y main\nTypes: deb\nURIs: a b\nSuites: c\nSigned-By:\n " + armorBegin + "\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, s := range append(readLists("l", text), readStanzas("s", text)...) {
			if s.uri == "" || s.suite == "" {
				t.Errorf("a source without an address or a suite: %+v", s)
			}
			s.whole()
			if s.key != "" {
				_, _ = dearmor([]byte(s.key))
			}
		}
	})
}
