package staging

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// large is a folder of 5,000 files and 64 MB, half of which compresses: about
// what a Node.js or Ruby application brings.
func large(b *testing.B) string {
	b.Helper()
	const files, size = 5000, 64 << 20 / 5000
	dir := b.TempDir()
	rng := rand.New(rand.NewPCG(1, 2))
	content := make([]byte, size)
	for i := range files {
		folder := filepath.Join(dir, fmt.Sprintf("node_modules/m%02d/lib%d", i/100, i/25%4))
		if err := os.MkdirAll(folder, 0o755); err != nil {
			b.Fatal(err)
		}
		for at := range content {
			content[at] = byte(rng.Uint32())
			if at%16 > 7 {
				content[at] = content[at-8]
			}
		}
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("f%d.js", i)), content, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	return dir
}

func sealed64(b *testing.B, dir string, zstd bool) []byte {
	b.Helper()
	var out bytes.Buffer
	if _, err := Seal(&out, dir, Info{StartCommand: "x", Zstd: zstd}); err != nil {
		b.Fatal(err)
	}
	return out.Bytes()
}

// BenchmarkFetch unpacks a droplet of 5,000 files and 64 MB, alternating with
// tar, and reports how long it takes in terms of tar's time. tar doesn't hash.
func BenchmarkFetch(b *testing.B) {
	needRoot(b)
	dir := large(b)
	for name, zstd := range map[string]bool{"gzip": false, "zstd": true} {
		content := sealed64(b, dir, zstd)
		b.Run(name, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "droplet.tgz")
			if err := os.WriteFile(path, content, 0o600); err != nil {
				b.Fatal(err)
			}
			source := sourceOf(content)
			source.URI = "file://" + path
			var ours, tars time.Duration
			b.SetBytes(64 << 20)
			for b.Loop() {
				ours += fetchOnce(b, source)
				b.StopTimer()
				tars += tarOnce(b, path, zstd)
				b.StartTimer()
			}
			b.ReportMetric(ours.Seconds()*1e3/float64(b.N), "ours-ms")
			b.ReportMetric(tars.Seconds()*1e3/float64(b.N), "tar-ms")
			b.ReportMetric(float64(ours)/float64(tars), "ours/tar")
		})
	}
}

func fetchOnce(b *testing.B, source Source) time.Duration {
	b.StopTimer()
	c := openCache(b, Options{AllowFiles: true})
	defer func() {
		b.StopTimer()
		os.RemoveAll(c.dir)
		b.StartTimer()
	}()
	b.StartTimer()
	began := time.Now()
	if _, err := c.Fetch(context.Background(), source); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}

func tarOnce(b *testing.B, path string, zstd bool) time.Duration {
	into := b.TempDir()
	defer os.RemoveAll(into)
	tar := exec.Command("tar", "-xzf", path, "-C", into)
	if zstd {
		tar = exec.Command("tar", "--zstd", "-xf", path, "-C", into)
	}
	began := time.Now()
	if out, err := tar.CombinedOutput(); err != nil {
		b.Fatalf("tar: %v: %s", err, out)
	}
	return time.Since(began)
}

// BenchmarkCachedFetch is what every start after the first pays.
func BenchmarkCachedFetch(b *testing.B) {
	c := openCache(b, Options{})
	source := newStore(b).add(droplet(b, "start_command: x\n"))
	mustFetch(b, c, source)
	for b.Loop() {
		if _, err := c.Fetch(context.Background(), source); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFirstCachedFetch is the same in an agent that has just come up.
func BenchmarkFirstCachedFetch(b *testing.B) {
	c := openCache(b, Options{})
	source := newStore(b).add(droplet(b, "start_command: x\n"))
	mustFetch(b, c, source)
	for b.Loop() {
		clear(c.known)
		if _, err := c.Fetch(context.Background(), source); err != nil {
			b.Fatal(err)
		}
	}
}
