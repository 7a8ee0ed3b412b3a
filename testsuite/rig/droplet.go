package rig

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// Droplet is an archive as a stager would make it, served over HTTP.
type Droplet struct {
	URI  string
	SHA1 string
}

// File is one file of a droplet, below app/.
type File struct {
	Name string
	Body []byte
	Mode int64
}

// DropletServer serves droplets on the node's loopback as a blob store does.
type DropletServer struct {
	t        testing.TB
	droplets map[string][]byte
	base     string
}

// NewDropletServer starts one; it ends with the test.
func NewDropletServer(t testing.TB) *DropletServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal("rig: droplet server:", err)
	}
	s := &DropletServer{t: t, droplets: map[string][]byte{}, base: "http://" + l.Addr().String() + "/"}
	server := &http.Server{Handler: http.HandlerFunc(s.serve)}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return s
}

func (s *DropletServer) serve(w http.ResponseWriter, r *http.Request) {
	body, ok := s.droplets[r.URL.Path[1:]]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Write(body)
}

// Add makes a droplet. An empty startCommand leaves it out, as a stager does
// that found none.
func (s *DropletServer) Add(startCommand string, files ...File) Droplet {
	s.t.Helper()
	body, err := archive(startCommand, files)
	if err != nil {
		s.t.Fatal("rig: make a droplet:", err)
	}
	return s.serves(body)
}

// AddFile serves a droplet that is a file already.
func (s *DropletServer) AddFile(path string) Droplet {
	s.t.Helper()
	body, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal("rig: read a droplet:", err)
	}
	return s.serves(body)
}

// AddFirst makes a droplet of the first generation: files by their names in it, and
// nothing that a later stager says.
func (s *DropletServer) AddFirst(files ...File) Droplet {
	s.t.Helper()
	body, err := tarball(files)
	if err != nil {
		s.t.Fatal("rig: make a droplet:", err)
	}
	return s.serves(body)
}

func (s *DropletServer) serves(body []byte) Droplet {
	sum := sha1.Sum(body)
	digest := hex.EncodeToString(sum[:])
	s.droplets[digest] = body
	return Droplet{URI: s.base + digest, SHA1: digest}
}

func archive(startCommand string, files []File) ([]byte, error) {
	info := "---\ndetected_buildpack: rig\n"
	if startCommand != "" {
		info += fmt.Sprintf("start_command: %q\n", startCommand)
	}
	all := []File{{Name: "./staging_info.yml", Body: []byte(info), Mode: 0o644}}
	for _, f := range files {
		all = append(all, File{Name: "./app/" + f.Name, Body: f.Body, Mode: f.Mode})
	}
	return tarball(all)
}

func tarball(files []File) ([]byte, error) {
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	tape := tar.NewWriter(zip)
	for _, folder := range []string{"./", "./app/", "./logs/", "./tmp/"} {
		if err := tape.WriteHeader(&tar.Header{Name: folder, Typeflag: tar.TypeDir, Mode: 0o755}); err != nil {
			return nil, err
		}
	}
	for _, f := range files {
		header := tar.Header{Name: f.Name, Typeflag: tar.TypeReg, Mode: f.Mode, Size: int64(len(f.Body))}
		if err := tape.WriteHeader(&header); err != nil {
			return nil, err
		}
		if _, err := tape.Write(f.Body); err != nil {
			return nil, err
		}
	}
	if err := tape.Close(); err != nil {
		return nil, err
	}
	if err := zip.Close(); err != nil { // writes the archive's end
		return nil, err
	}
	return out.Bytes(), nil
}

// Program builds a Go main package of this module and returns it as a file of
// a droplet. The folder of binaries may have it already: in testsuite/guest
// there is no compiler.
func Program(t testing.TB, pkg, name string) File {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(os.Getenv(BinariesEnv), filepath.Base(pkg)))
	if os.Getenv(BinariesEnv) == "" || errors.Is(err, fs.ErrNotExist) {
		folder := t.TempDir()
		if err := Build(folder, pkg); err != nil {
			t.Fatal(err)
		}
		body, err = os.ReadFile(filepath.Join(folder, filepath.Base(pkg)))
	}
	if err != nil {
		t.Fatal(err)
	}
	return File{Name: name, Body: body, Mode: 0o755}
}
