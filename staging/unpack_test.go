package staging

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestADropletLandsInVcapsHome(t *testing.T) {
	c := openCache(t, Options{})
	d := mustFetch(t, c, newStore(t).add(gzipped(t, tarOf(t, ordinary()...))))

	want := strings.Split(strings.TrimSpace(`
. drwxr-xr-x 0:0
home drwxr-xr-x 0:0
home/vcap drwxr-xr-x 2000:2000
home/vcap/app drwxr-xr-x 2000:2000
home/vcap/app/far Lrwxrwxrwx 2000:2000 -> /etc/passwd
home/vcap/app/lib drwxr-xr-x 2000:2000
home/vcap/app/lib/same -rwxr-xr-x 2000:2000 100000 bytes 2 links 1400000000
home/vcap/app/lib/tool -rwxr-xr-x 2000:2000 100000 bytes 2 links 1400000000
home/vcap/app/link Lrwxrwxrwx 2000:2000 -> lib/tool
home/vcap/app/run -rwxr-xr-x 2000:2000 10 bytes 1 links 1400000000
home/vcap/app/secret -rw------- 2000:2000 3 bytes 1 links 1400000000
home/vcap/deep drwxr-xr-x 2000:2000
home/vcap/deep/below drwxr-xr-x 2000:2000
home/vcap/deep/below/file -rw-r--r-- 2000:2000 1 bytes 1 links 1400000000
home/vcap/logs drwxr-xr-x 2000:2000
home/vcap/tmp drwxr-xr-x 2000:2000`), "\n")
	if diff := cmp.Diff(want, tree(t, d.Layer)); diff != "" {
		t.Error(diff)
	}
}

func TestEveryCompressionMakesTheSameTree(t *testing.T) {
	c, s := openCache(t, Options{}), newStore(t)
	plain := droplet(t, "start_command: ./run\n")
	want := tree(t, mustFetch(t, c, s.add(plain)).Layer)
	for name, content := range map[string][]byte{"gzip": gzipped(t, plain), "zstd": zstded(t, plain)} {
		if diff := cmp.Diff(want, tree(t, mustFetch(t, c, s.add(content)).Layer)); diff != "" {
			t.Errorf("%s differs from plain: %s", name, diff)
		}
	}
}

func TestHostileArchivesAreRefusedByTheEntrysName(t *testing.T) {
	type entries = []tar.Header
	file := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name, Size: 1} }
	dir := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755} }
	soft := func(name, to string) tar.Header {
		return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to}
	}
	hard := func(name, to string) tar.Header {
		return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: to}
	}
	long := strings.Repeat("n", componentMax+1)
	for name, hostile := range map[string]struct {
		entry   string
		headers entries
	}{
		"climbs":                  {"../evil", entries{file("../evil")}},
		"climbs below":            {"app/../../evil", entries{dir("app"), file("app/../../evil")}},
		"climbs and comes back":   {"./app/../run", entries{file("./app/../run")}},
		"absolute":                {"/etc/evil", entries{file("/etc/evil")}},
		"through a symlink":       {"app/out/evil", entries{soft("app/out", "/tmp"), file("app/out/evil")}},
		"through an inner link":   {"a/b/evil", entries{dir("c"), soft("a/b", "../c"), file("a/b/evil")}},
		"far through a symlink":   {"o/a/b/evil", entries{soft("o", "/tmp"), file("o/a/b/evil")}},
		"folder over a symlink":   {"out", entries{soft("out", "/tmp"), dir("out")}},
		"file over a symlink":     {"out", entries{soft("out", "/tmp/evil"), file("out")}},
		"through a file":          {"f/x", entries{file("f"), file("f/x")}},
		"hard link outside":       {"passwd", entries{hard("passwd", "/etc/passwd")}},
		"hard link climbs":        {"passwd", entries{hard("passwd", "../../../../etc/passwd")}},
		"hard link via a symlink": {"p", entries{soft("o", "/etc"), hard("p", "o/passwd")}},
		"hard link to a symlink":  {"p", entries{soft("o", "/etc/passwd"), hard("p", "o")}},
		"hard link to a folder":   {"p", entries{dir("o"), hard("p", "o")}},
		"hard link to later":      {"p", entries{hard("p", "q"), file("q")}},
		"hard link to itself":     {"p", entries{hard("p", "p")}},
		"character device":        {"null", entries{{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1}}},
		"overlay whiteout":        {"app/w", entries{{Typeflag: tar.TypeChar, Name: "app/w"}}},
		"block device":            {"disk", entries{{Typeflag: tar.TypeBlock, Name: "disk", Devmajor: 8}}},
		"fifo":                    {"pipe", entries{{Typeflag: tar.TypeFifo, Name: "pipe"}}},
		"unknown type":            {"odd", entries{{Typeflag: 'Z', Name: "odd"}}},
		"file twice":              {"app/run", entries{file("app/run"), file("./app//run")}},
		"folder twice":            {"app", entries{dir("app"), dir("./app/")}},
		"folder where a file is":  {"app", entries{file("app"), dir("app")}},
		"app is a file":           {"app", entries{file("app")}},
		"logs is a symlink":       {"logs", entries{soft("logs", "/var/log")}},
		"long component":          {long[:255], entries{file(long)}},
		"long name":               {"d/d/d/", entries{file(strings.Repeat("d/", nameMax/2) + "x")}},
		"info is a symlink":       {infoName, entries{soft(infoName, "/etc/passwd")}},
		"info is a folder":        {infoName, entries{dir(infoName)}},
		"droplet is a file":       {"./", entries{{Typeflag: tar.TypeSymlink, Name: "./", Linkname: "/etc"}}},
	} {
		t.Run(name, func(t *testing.T) {
			c := openCache(t, Options{})
			_, err := c.Fetch(t.Context(), newStore(t).add(gzipped(t, tarOf(t, hostile.headers...))))

			refused, ok := errors.AsType[*EntryError](err)
			if !ok {
				t.Fatalf("error is %v, want an EntryError", err)
			}
			if !strings.HasPrefix(refused.Entry, hostile.entry) || !strings.Contains(err.Error(), hostile.entry) {
				t.Errorf("%q is blamed in %q, want %q", refused.Entry, err, hostile.entry)
			}
			expectNothing(t, c)
			if escaped, _ := filepath.Glob(filepath.Join(c.dir, "..", "*", "evil")); len(escaped) > 0 {
				t.Errorf("it escaped to %v", escaped)
			}
		})
	}
}

func TestArchivesBeyondABoundAreRefusedByTheBoundsName(t *testing.T) {
	var many []tar.Header
	for i := range 101 {
		many = append(many, tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("f%d", i)})
	}
	big := tar.Header{Typeflag: tar.TypeReg, Name: "big", Size: 1 << 20}
	deep := tar.Header{Typeflag: tar.TypeReg, Name: strings.Repeat("d/", 100) + "f"}
	padded := append(tarOf(t, many[0]), make([]byte, 1<<20)...)
	text, _ := described(strings.Repeat("#", infoMax+1))
	for name, c := range map[string]struct {
		bound   string
		options Options
		content []byte
	}{
		"entries":          {"entries", Options{EntriesMax: 100}, gzipped(t, tarOf(t, many...))},
		"implicit folders": {"entries", Options{EntriesMax: 100}, tarOf(t, deep)},
		"bomb":             {"unpacked", Options{SizeMax: 1 << 19}, gzipped(t, tarOf(t, big))},
		"zeros at the end": {"unpacked", Options{SizeMax: 1 << 19}, gzipped(t, padded)},
		"headers alone":    {"unpacked", Options{SizeMax: 4 << 10}, zstded(t, tarOf(t, many...))},
		"sparse bomb":      {"unpacked", Options{SizeMax: 1 << 30}, gzipped(t, sparse(2<<30))},
		"body":             {"body", Options{SizeMax: 1 << 19}, bytes.Repeat([]byte("noise "), 1<<18)},
		"info":             {infoName, Options{}, tarOf(t, text)},
	} {
		t.Run(name, func(t *testing.T) {
			cache := openCache(t, c.options)
			_, err := cache.Fetch(t.Context(), newStore(t).add(c.content))

			exceeded, ok := errors.AsType[*LimitError](err)
			if !ok || !strings.Contains(exceeded.What, c.bound) {
				t.Errorf("error is %v, want a LimitError of %s", err, c.bound)
			}
			expectNothing(t, cache)
		})
	}
}

// sparse is an archive of one file that is all hole, in GNU's old format: 512
// bytes say that there are size.
func sparse(size int64) []byte {
	block := make([]byte, 512)
	copy(block[0:], "hole")
	copy(block[100:], "0000644\x00")
	copy(block[108:], "0000000\x00")
	copy(block[116:], "0000000\x00")
	copy(block[124:], "00000000000\x00") // stored bytes
	copy(block[136:], "00000000000\x00")
	block[156] = 'S'
	copy(block[257:], "ustar  \x00")
	copy(block[386:], fmt.Sprintf("%011o\x00%011o\x00", size, 0)) // one empty piece at the end
	copy(block[483:], fmt.Sprintf("%011o\x00", size))
	copy(block[148:], "        ")
	sum := 0
	for _, b := range block {
		sum += int(b)
	}
	copy(block[148:], fmt.Sprintf("%06o\x00 ", sum))
	return append(block, make([]byte, 1024)...)
}

func TestASparseFileIsWrittenOut(t *testing.T) {
	c := openCache(t, Options{})
	d := mustFetch(t, c, newStore(t).add(sparse(1<<16)))

	got := tree(t, d.Layer)
	if !slices.ContainsFunc(got, func(line string) bool {
		return strings.HasPrefix(line, "home/vcap/hole ") && strings.Contains(line, "65536 bytes")
	}) {
		t.Errorf("tree is %q", got)
	}
}

func TestABodyThatIsNoArchiveIsCalledThat(t *testing.T) {
	whole := gzipped(t, droplet(t, ""))
	for name, content := range map[string][]byte{
		"text":           []byte(strings.Repeat("<html>no droplet here</html>\n", 100)),
		"short":          []byte("x"),
		"empty":          {},
		"empty archive":  tarOf(t),
		"cut":            whole[:len(whole)/2],
		"gzip checksum":  append(slices.Clone(whole[:len(whole)-8]), make([]byte, 8)...),
		"trailing noise": append(slices.Clone(whole), "noise"...),
	} {
		t.Run(name, func(t *testing.T) {
			c := openCache(t, Options{})
			if d, err := c.Fetch(t.Context(), newStore(t).add(content)); err == nil {
				t.Errorf("it became %+v", d)
			}
			expectNothing(t, c)
		})
	}
}

// Whatever the archive, the layer's folder holds all that is written, and the
// bounds hold.
func FuzzUnpack(f *testing.F) {
	needRoot(f)
	f.Add(tarOf(f, ordinary()...))
	f.Add(gzipped(f, droplet(f, "start_command: x\n")))
	f.Add(zstded(f, tarOf(f, ordinary()...)))
	f.Add(sparse(100))
	f.Add(tarOf(f, tar.Header{Typeflag: tar.TypeSymlink, Name: "a", Linkname: ".."},
		tar.Header{Typeflag: tar.TypeReg, Name: "a/b", Size: 1}))
	f.Fuzz(func(t *testing.T, content []byte) {
		if len(content) > 64<<10 {
			return
		}
		outside := t.TempDir()
		o := Options{EntriesMax: 50, SizeMax: 256 << 10}
		l, err := newLayer(filepath.Join(outside, "layer"), o)
		if err != nil {
			t.Fatal(err)
		}
		defer l.close()
		unpacked := unpack(bufio.NewReader(bytes.NewReader(content)), l)

		if beside, _ := filepath.Glob(filepath.Join(outside, "*")); len(beside) != 1 {
			t.Errorf("beside the layer lie %v", beside)
		}
		lines := tree(t, filepath.Join(outside, "layer"))
		if len(lines) > o.EntriesMax+3 || l.size > o.SizeMax && unpacked == nil {
			t.Errorf("%d entries, %d bytes; the bounds are %+v", len(lines), l.size, o)
		}
		for _, line := range lines[2:] {
			if !strings.Contains(line, " 2000:2000") && unpacked == nil {
				t.Errorf("not vcap's: %s", line)
			}
		}
	})
}
