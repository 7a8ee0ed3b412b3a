package stack

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/staging"
)

// Import is what is imported.
type Import struct {
	// Path is a folder, an OCI layout, or a file: tar, tar.gz or tar.zst of a root
	// file system, of an OCI layout, or what docker save writes.
	Path string
	// Stdin is read instead of a file where Path is a dash; it can be no image.
	Stdin io.Reader
	// Image names one where the source has several.
	Image    string
	Progress func(line string)
}

// Import makes a stack of what is on this machine.
func (s *Store) Import(ctx context.Context, name string, o Import) (Manifest, error) {
	m, err := s.produce(ctx, Manifest{Name: name, Source: "import of " + o.Path}, func(w *workshop, m *Manifest) error {
		return w.fill(m, o.Progress, func(tree *writer) error { return w.read(ctx, tree, o) })
	})
	if err != nil {
		return m, fmt.Errorf("stack: import %s from %s: %w", name, o.Path, err)
	}
	return m, nil
}

// produce makes a stack: whole, or not at all.
func (s *Store) produce(ctx context.Context, m Manifest, make func(*workshop, *Manifest) error) (Manifest, error) {
	w, err := s.begin(m.Name)
	if err != nil {
		return m, err
	}
	if err := make(w, &m); err != nil {
		if ctx.Err() != nil { // whatever else the interruption broke
			err = context.Cause(ctx)
		}
		return m, w.abandon(err)
	}
	m.Created = time.Now().UTC().Truncate(time.Second)
	if m, err = w.seal(ctx, m); err != nil {
		return m, w.abandon(err)
	}
	if err := w.publish(m); err != nil {
		return m, w.abandon(err)
	}
	return m, nil
}

// fill has a tree written and completed.
func (w *workshop) fill(m *Manifest, progress func(string), write func(*writer) error) error {
	t, err := openTree(w.tree())
	if err != nil {
		return err
	}
	defer t.close()
	tree := newWriter(t)
	if err := write(tree); err != nil {
		return err
	}
	progress("completing and hashing the tree")
	added, notes, err := t.complete()
	m.Added, m.Notes = added, append(tree.notes(), notes...)
	return err
}

// read writes the tree from whatever the source is.
func (w *workshop) read(ctx context.Context, tree *writer, o Import) error {
	if o.Path == "-" {
		return errors.Join(tree.untar(ctx, o.Stdin), tree.finish())
	}
	info, err := os.Stat(o.Path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		if isLayout(o.Path) {
			return applyLayout(ctx, tree, o)
		}
		if err := tree.copyFolder(ctx, o.Path); err != nil {
			return err
		}
		return tree.finish()
	}
	kind, err := kindOf(o.Path)
	switch {
	case err != nil:
		return err
	case kind.saved:
		return applySaved(ctx, tree, o)
	case kind.layout:
		return w.applyPacked(ctx, tree, o)
	}
	file, err := openPlain(o.Path)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := tree.untar(ctx, file); err != nil {
		return err
	}
	return tree.finish()
}

// openPlain opens a regular file; a fifo would let us wait for ever.
func openPlain(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		file.Close()
		return nil, errors.Join(fmt.Errorf("%s is no regular file", path), err)
	}
	return file, nil
}

func isLayout(folder string) bool {
	info, err := os.Stat(filepath.Join(folder, "oci-layout"))
	return err == nil && info.Mode().IsRegular()
}

// kind is what a tar has in it, beside a root file system.
type kind struct {
	saved  bool // docker save
	layout bool // OCI layout
}

// imageParts are the only top names that an image's archive has. A root file
// system has others among its first.
var imageParts = regexp.MustCompile(
	`^(manifest\.json|repositories|oci-layout|index\.json|blobs|(sha256:)?[0-9a-f]{64}(\.json|\.tar|\.tar\.gz)?)$`)

// kindOf looks at the names in an archive, as long as they are those of an image.
func kindOf(path string) (kind, error) {
	file, err := openPlain(path)
	if err != nil {
		return kind{}, err
	}
	defer file.Close()
	plain, done, err := staging.Decompress(bufio.NewReaderSize(file, copySize))
	if err != nil {
		return kind{}, err
	}
	defer done()
	var k kind
	for archive := tar.NewReader(plain); ; {
		h, err := archive.Next()
		if err != nil { // whoever unpacks it will say
			return k, nil
		}
		top, _, _ := strings.Cut(strings.TrimPrefix(h.Name, "./"), "/")
		switch {
		case top == "" || top == ".":
		case !imageParts.MatchString(top):
			return kind{}, nil
		}
		k.saved = k.saved || top == "manifest.json"
		k.layout = k.layout || top == "oci-layout"
	}
}

func applyLayout(ctx context.Context, tree *writer, o Import) error {
	index, err := layout.ImageIndexFromPath(o.Path)
	if err != nil {
		return fmt.Errorf("the layout's index: %w", err)
	}
	image, digest, err := choose(index, o.Image)
	if err != nil {
		return err
	}
	return applyImage(ctx, applying{w: tree, image: image, progress: o.Progress}, digest)
}

// applyImage unpacks an image whose manifest has a digest.
func applyImage(ctx context.Context, a applying, digest v1.Hash) error {
	raw, err := a.image.RawManifest()
	if err != nil {
		return fmt.Errorf("the image's manifest: %w", err)
	}
	if err := matches("the image's manifest", digest, raw); err != nil {
		return err
	}
	return a.apply(ctx)
}

// applySaved reads what docker save wrote: its layers lie in it as they are
// unpacked, and its configuration says what they must be.
func applySaved(ctx context.Context, tree *writer, o Import) error {
	var tag *name.Tag
	if o.Image != "" {
		parsed, err := name.NewTag(o.Image, name.WeakValidation)
		if err != nil {
			return err
		}
		tag = &parsed
	}
	open := func() (io.ReadCloser, error) { return openDecompressed(o.Path) }
	if tag == nil {
		images, err := tarball.LoadManifest(open)
		if err != nil {
			return fmt.Errorf("manifest.json: %w", err)
		}
		if len(images) != 1 {
			var tags []string
			for _, image := range images {
				tags = append(tags, image.RepoTags...)
			}
			return fmt.Errorf("it has %d images, name one of them: %s", len(images), strings.Join(tags, ", "))
		}
	}
	image, err := tarball.Image(open, tag)
	if err != nil {
		return err
	}
	return applying{w: tree, image: image, saved: true, progress: o.Progress}.apply(ctx)
}

// decompressed is a file whose content is read decompressed.
type decompressed struct {
	io.Reader
	done func()
	file *os.File
}

func (d decompressed) Close() error {
	d.done()
	return d.file.Close()
}

func openDecompressed(path string) (io.ReadCloser, error) {
	file, err := openPlain(path)
	if err != nil {
		return nil, err
	}
	plain, done, err := staging.Decompress(bufio.NewReaderSize(file, copySize))
	if err != nil {
		file.Close()
		return nil, err
	}
	return decompressed{plain, done, file}, nil
}

// applyPacked unpacks a layout beside the tree first.
func (w *workshop) applyPacked(ctx context.Context, tree *writer, o Import) (err error) {
	const packed = "layout"
	file, err := openPlain(o.Path)
	if err != nil {
		return err
	}
	defer file.Close()
	o.Path = w.file(packed)
	if err := os.Mkdir(o.Path, 0o700); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(o.Path)) }()
	beside, err := openTree(o.Path)
	if err != nil {
		return err
	}
	defer beside.close()
	if err := newWriter(beside).untar(ctx, file); err != nil {
		return err
	}
	if !isLayout(o.Path) {
		return &fs.PathError{Op: "find", Path: "oci-layout", Err: fs.ErrNotExist}
	}
	return applyLayout(ctx, tree, o)
}
