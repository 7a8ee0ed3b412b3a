package staging

import (
	"archive/tar"
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// entries of a small, ordinary droplet.
func ordinary() []tar.Header {
	when := time.Unix(1_400_000_000, 0)
	return []tar.Header{
		{Typeflag: tar.TypeDir, Name: "./", Mode: 0o700, ModTime: when},
		{Typeflag: tar.TypeDir, Name: "./app/", Mode: 0o755, ModTime: when},
		{Typeflag: tar.TypeReg, Name: "./app/run", Mode: 0o755, Size: 10, ModTime: when, Uid: 1000},
		{Typeflag: tar.TypeReg, Name: "./app/secret", Mode: 0o600, Size: 3, ModTime: when},
		{Typeflag: tar.TypeDir, Name: "./app/lib/", Mode: 0o2777, ModTime: when},
		{Typeflag: tar.TypeReg, Name: "./app/lib/tool", Mode: 0o6777, Size: 100_000, ModTime: when},
		{Typeflag: tar.TypeLink, Name: "./app/lib/same", Linkname: "./app/lib/tool"},
		{Typeflag: tar.TypeSymlink, Name: "./app/link", Linkname: "lib/tool"},
		{Typeflag: tar.TypeSymlink, Name: "./app/far", Linkname: "/etc/passwd"},
		{Typeflag: tar.TypeReg, Name: "./deep/below/file", Mode: 0o644, Size: 1, ModTime: when},
	}
}

// described is a staging_info.yml as an entry, and its content.
func described(text string) (tar.Header, string) {
	return tar.Header{Typeflag: tar.TypeReg, Name: "./" + infoName, Mode: 0o644, Size: int64(len(text))}, text
}

// tarOf writes an archive without asking whether it makes sense. Files are
// filled with their size's worth of x.
func tarOf(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range headers {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatalf("write the header of %q: %v", h.Name, err)
		}
		if _, err := w.Write(bytes.Repeat([]byte("x"), int(h.Size))); err != nil {
			t.Fatalf("write %q: %v", h.Name, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// droplet is an ordinary droplet whose staging_info.yml has the given text.
func droplet(t testing.TB, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	h, text := described(text)
	if err := w.WriteHeader(&h); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(w, text)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	// A tar's end is what its last member leaves; the rest follows in place.
	return append(out.Bytes(), tarOf(t, ordinary()...)...)
}

func gzipped(t testing.TB, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zstded(t testing.TB, plain []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(plain, nil)
}

// store serves bodies by their name, and counts how often it is asked.
type store struct {
	*httptest.Server
	asked  atomic.Int64
	mu     sync.Mutex
	bodies map[string][]byte
}

func newStore(t testing.TB) *store {
	s := &store{bodies: map[string][]byte{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.asked.Add(1)
	s.mu.Lock()
	content, ok := s.bodies[strings.TrimPrefix(r.URL.Path, "/")]
	s.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Write(content)
}

// add serves content and says how to fetch it.
func (s *store) add(content []byte) Source {
	source := sourceOf(content)
	s.mu.Lock()
	s.bodies[source.SHA1] = content
	s.mu.Unlock()
	source.URI = s.URL + "/" + source.SHA1
	return source
}

func sourceOf(content []byte) Source {
	one, two := sha1.Sum(content), sha256.Sum256(content)
	return Source{SHA1: hex.EncodeToString(one[:]), SHA256: hex.EncodeToString(two[:])}
}

func openCache(t testing.TB, o Options) *Cache {
	t.Helper()
	needRoot(t)
	c, err := Open(filepath.Join(t.TempDir(), "droplets"), o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// needRoot: a layer belongs to vcap, and only root can give files away.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: layers belong to user 2000, which only root can arrange; run this as root")
	}
}

func mustFetch(t testing.TB, c *Cache, s Source) Droplet {
	t.Helper()
	d, err := c.Fetch(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// expectNothing fails the test if anything lies in the cache.
func expectNothing(t *testing.T, c *Cache) {
	t.Helper()
	if names, err := c.list(); err != nil || len(names) != 0 {
		t.Errorf("the cache holds %v, %v; want nothing", names, err)
	}
}

// tree describes everything below a folder: type, mode, owner, size, time and
// target, a line each.
func tree(t testing.TB, root string) []string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		stat := info.Sys().(*syscall.Stat_t)
		name, _ := filepath.Rel(root, path)
		line := fmt.Sprintf("%s %v %d:%d", name, info.Mode(), stat.Uid, stat.Gid)
		if info.Mode().IsRegular() {
			line += fmt.Sprintf(" %d bytes %d links %d", info.Size(), stat.Nlink, info.ModTime().Unix())
		}
		if target, err := os.Readlink(path); err == nil {
			line += " -> " + target
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}
