package stack

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// imageOf makes an image for this machine of layers.
func imageOf(t testing.TB, layers ...[]entry) v1.Image {
	t.Helper()
	image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: machine().OS, Architecture: machine().Architecture})
	if err != nil {
		t.Fatal(err)
	}
	for _, entries := range layers {
		body := archiveOf(t, entries...)
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil })
		if err == nil {
			image, err = mutate.AppendLayers(image, layer)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return image
}

// layoutOf writes an OCI layout with images.
func layoutOf(t testing.TB, images map[string]v1.Image) string {
	t.Helper()
	folder := t.TempDir()
	at, err := layout.Write(folder, empty.Index)
	for called, image := range images {
		if err == nil {
			err = at.AppendImage(image, layout.WithAnnotations(map[string]string{refName: called}))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

func (s *stage) importsPath(name, path, image string) (Manifest, error) {
	return s.Import(s.t.Context(), name, Import{Path: path, Image: image, Progress: quiet})
}

func TestALayerHidesWhatTheOnesBelowHaveAndNothingOfItsOwn(t *testing.T) {
	lower := []entry{
		dir("a"), file("a/1", "1"), file("a/2", "2"), dir("a/d"), file("a/d/3", "3"), file("b", "b"), dir("c"), file("c/4", "4"),
		dir("usr/bin"), file("usr/bin/x", "x"), symlink("bin", "usr/bin"),
	}
	const all = "a/1 a/2 a/d/3 b c/4"
	for what, test := range map[string]struct {
		upper []entry
		want  string
	}{
		"one file":               {[]entry{file("a/.wh.1", "")}, "a/2 a/d/3 b c/4"},
		"a folder":               {[]entry{file(".wh.a", "")}, "b c/4"},
		"what isn't there":       {[]entry{file("a/.wh.none", ""), file("none/.wh.x", ""), file("b/.wh.x", "")}, all},
		"itself, after":          {[]entry{file("b", "new"), file(".wh.b", "")}, all},
		"itself, before":         {[]entry{file(".wh.b", ""), file("b", "new")}, all},
		"all in a folder":        {[]entry{dir("a"), file("a/.wh..wh..opq", ""), file("a/new", "")}, "a/new b c/4"},
		"all in it, told last":   {[]entry{dir("a"), file("a/new", ""), dir("a/d"), file("a/.wh..wh..opq", "")}, "a/new b c/4"},
		"a folder that is anew":  {[]entry{file("c/5", ""), file(".wh.c", "")}, "a/1 a/2 a/d/3 b c/5"},
		"through a link":         {[]entry{file("bin/.wh.x", "")}, all},
		"what aufs keeps":        {[]entry{file(".wh..wh.aufs", ""), dir(".wh..wh.plnk")}, all},
		"a link, not its target": {[]entry{file(".wh.bin", "")}, all},
	} {
		t.Run(what, func(t *testing.T) {
			s := newStage(t)
			if _, err := s.importsPath("i", layoutOf(t, map[string]v1.Image{"i": imageOf(t, lower, test.upper)}), ""); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, path := range s.below("i") {
				if !strings.HasSuffix(path, "/") && path != "bin" && path != "usr/bin/x" {
					got = append(got, path)
				}
			}
			if strings.Join(got, " ") != test.want {
				t.Errorf("the tree has %q, want %q", got, test.want)
			}
			_, err := os.Lstat(s.Tree("i") + "/usr/bin/x")
			if hidden := what == "through a link"; (err != nil) != hidden {
				t.Errorf("usr/bin/x: %v", err)
			}
			if _, err := os.Lstat(s.Tree("i") + "/bin"); (err != nil) != (what == "a link, not its target") {
				t.Errorf("bin: %v", err)
			}
		})
	}
	for _, bad := range []string{".wh.", ".wh..", "a/.wh..."} {
		s := newStage(t)
		_, err := s.importsPath("i", layoutOf(t, map[string]v1.Image{"i": imageOf(t, lower, []entry{file(bad, "")})}), "")
		expect(t, err, "hides nothing")
		s.nothingLeft()
	}
}

func TestALinkMayBeToALowerLayersFile(t *testing.T) {
	s := newStage(t)
	image := imageOf(t, []entry{file("a", "a")}, []entry{hard("b", "a"), file(".wh.a", "")})
	if _, err := s.importsPath("i", layoutOf(t, map[string]v1.Image{"": image}), ""); err != nil {
		t.Fatal(err)
	}
	s.has("i", "b", "a")
}

func TestAnImageIsImportedFromWhateverItLiesIn(t *testing.T) {
	image := imageOf(t, []entry{file("old", "1"), file("same", "1")}, []entry{file(".wh.old", ""), file("same", "2")})
	folder := layoutOf(t, map[string]v1.Image{"v1": image})
	saved := filepath.Join(t.TempDir(), "saved.tar")
	tag, err := name.NewTag("registry.example/app:v1")
	if err == nil {
		err = tarball.WriteToFile(saved, tag, image)
	}
	if err != nil {
		t.Fatal(err)
	}
	packed := filepath.Join(t.TempDir(), "packed.tar")
	var entries []entry
	for _, path := range filesBelow(t, folder) {
		body, err := os.ReadFile(filepath.Join(folder, path))
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, file(path, string(body)))
	}
	if err := os.WriteFile(packed, archiveOf(t, entries...), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newStage(t)
	var digest string
	for stack, path := range map[string]string{"folder": folder, "saved": saved, "packed": packed} {
		m, err := s.importsPath(stack, path, "")
		if err != nil {
			t.Fatal(err)
		}
		s.has(stack, "same", "2")
		if got := s.below(stack); !slices.Equal(got, []string{"same"}) {
			t.Errorf("%s has %q", stack, got)
		}
		if digest == "" {
			digest = m.Digest
		}
		if m.Digest != digest {
			t.Errorf("%s has the digest %s, another %s", stack, m.Digest, digest)
		}
	}
	_, err = s.importsPath("other", saved, "registry.example/app:v2")
	if err == nil {
		t.Error("an image that isn't there was imported")
	}
}

func filesBelow(t testing.TB, folder string) []string {
	t.Helper()
	var files []string
	for _, pattern := range []string{"*", "*/*", "*/*/*"} {
		found, _ := filepath.Glob(filepath.Join(folder, pattern))
		for _, path := range found {
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
				files = append(files, strings.TrimPrefix(path, folder+"/"))
			}
		}
	}
	return files
}

func TestOfSeveralImagesOneIsNamedAndOneForAnotherMachineIsNone(t *testing.T) {
	s := newStage(t)
	one, two := imageOf(t, []entry{file("one", "")}), imageOf(t, []entry{file("two", "")})
	folder := layoutOf(t, map[string]v1.Image{"one": one, "two": two})
	_, err := s.importsPath("i", folder, "")
	expect(t, err, "it has 2 images for linux/")
	_, err = s.importsPath("i", folder, "three")
	expect(t, err, `it has no image "three"; there are: `)
	if _, err := s.importsPath("i", folder, "two"); err != nil {
		t.Fatal(err)
	}
	if got := s.below("i"); !slices.Equal(got, []string{"two"}) {
		t.Errorf("the tree has %q", got)
	}
	config, err := one.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.Architecture = "vax"
	foreign, err := mutate.ConfigFile(one, config)
	if err != nil {
		t.Fatal(err)
	}
	at, err := layout.Write(t.TempDir(), empty.Index)
	if err == nil {
		err = at.AppendImage(foreign, layout.WithPlatform(v1.Platform{OS: "linux", Architecture: "vax"}))
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.importsPath("f", string(at), "")
	expect(t, err, "it has nothing for linux/"+machine().Architecture+", only for linux/vax")
	_, err = s.importsPath("f", layoutOf(t, map[string]v1.Image{"": foreign}), "") // its index doesn't tell
	expect(t, err, "the image is for linux/vax, and this machine is linux/")
	_, err = s.importsPath("f", layoutOf(t, nil), "")
	expect(t, err, "it has no image")
}

// blobs are those of a layout, by what they are.
func blobs(t testing.TB, folder string, image v1.Image) (layer, config, manifest string) {
	t.Helper()
	at := func(h v1.Hash) string { return filepath.Join(folder, "blobs", h.Algorithm, h.Hex) }
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := layers[len(layers)-1].Digest()
	if err != nil {
		t.Fatal(err)
	}
	configured, err := image.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	own, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return at(digest), at(configured), at(own)
}

func TestABlobThatIsNotWhatItsDigestSaysIsRefused(t *testing.T) {
	image := imageOf(t, []entry{file("a", "a")}, []entry{file("b", strings.Repeat("b", 4000))})
	other := imageOf(t, []entry{file("c", "c")})
	damage := map[string]func(string) error{
		"torn":     func(path string) error { return os.Truncate(path, 100) },
		"empty":    func(path string) error { return os.Truncate(path, 0) },
		"replaced": nil,
		"flipped": func(path string) error {
			body, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			body[len(body)/2] ^= 0x10
			return os.WriteFile(path, body, 0o600)
		},
	}
	for what, harm := range damage {
		for i, which := range []string{"layer", "configuration", "manifest"} {
			t.Run(which+" "+what, func(t *testing.T) {
				s := newStage(t)
				folder := layoutOf(t, map[string]v1.Image{"": image})
				layer, config, manifest := blobs(t, folder, image)
				path := []string{layer, config, manifest}[i]
				if harm == nil {
					strange := layoutOf(t, map[string]v1.Image{"": other})
					l, c, m := blobs(t, strange, other)
					body, err := os.ReadFile([]string{l, c, m}[i])
					if err == nil {
						err = os.WriteFile(path, body, 0o600)
					}
					if err != nil {
						t.Fatal(err)
					}
				} else if err := harm(path); err != nil {
					t.Fatal(err)
				}
				_, err := s.importsPath("i", folder, "")
				if err == nil {
					t.Fatal("it was imported")
				}
				if mismatch, is := errors.AsType[*MismatchError](err); which == "layer" && !is {
					t.Errorf("the error is %v (%v), want one of the digest", err, mismatch)
				}
				s.nothingLeft()
			})
		}
	}
}

// liar is a registry that changes what it has on the way.
type liar struct {
	http.Handler
	path string // of what is changed
	with func([]byte) []byte
}

func (l *liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if l.with == nil || r.Method != http.MethodGet || !strings.Contains(r.URL.Path, l.path) {
		l.Handler.ServeHTTP(w, r)
		return
	}
	told := httptest.NewRecorder()
	l.Handler.ServeHTTP(told, r)
	body := l.with(told.Body.Bytes())
	w.Header().Set("Content-Type", told.Header().Get("Content-Type"))
	w.WriteHeader(told.Code)
	w.Write(body)
}

func TestAnImageIsPulledAndOneThatIsNotWhatWasAskedForIsRefused(t *testing.T) {
	needRoot(t)
	server := &liar{Handler: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	web := httptest.NewServer(server)
	defer web.Close()
	host := strings.TrimPrefix(web.URL, "http://")
	image := imageOf(t, []entry{file("a", "a")}, []entry{file("b", strings.Repeat("b", 4000))})
	tag, err := name.NewTag(host + "/stacks/app:v1")
	if err == nil {
		err = remote.Write(tag, image)
	}
	if err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(t)
	pulls := func(stack, reference string) (Manifest, error) {
		return s.Pull(t.Context(), stack, Pull{Reference: reference, Progress: quiet})
	}
	for stack, reference := range map[string]string{"tag": tag.String(), "pinned": host + "/stacks/app@" + digest.String()} {
		m, err := pulls(stack, reference)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(m.Source, digest.String()) {
			t.Errorf("the source %q doesn't say which image", m.Source)
		}
		s.has(stack, "a", "a")
	}
	_, err = pulls("none", host+"/stacks/app:v2")
	expect(t, err, "MANIFEST_UNKNOWN")
	_, err = pulls("none", "Not A Reference")
	expect(t, err, "could not parse reference")
	for path, with := range map[string]func([]byte) []byte{
		"/manifests/": func(b []byte) []byte { return append(b, '\n') },
		"/blobs/":     func(b []byte) []byte { return b[:len(b)/2] },
	} {
		server.path, server.with = path, with
		_, err := pulls("lie", host+"/stacks/app@"+digest.String())
		if err == nil {
			t.Errorf("with changed %s it was pulled", path)
		}
	}
	s.nothingLeft("pinned", "tag")
}
