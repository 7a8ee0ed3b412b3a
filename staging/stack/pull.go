package stack

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Pull is what is pulled.
type Pull struct {
	// Reference is host/repository:tag, or host/repository@sha256:… for exactly
	// that and nothing else.
	Reference string
	PlainHTTP bool // to a registry on another machine too
	Progress  func(line string)
}

// Pull makes a stack of an image of a registry. Who has logged in there with
// docker or podman is known by that.
func (s *Store) Pull(ctx context.Context, name string, o Pull) (Manifest, error) {
	m, err := s.produce(ctx, Manifest{Name: name}, func(w *workshop, m *Manifest) error {
		return w.fill(m, o.Progress, func(tree *writer) error { return pull(ctx, tree, o, m) })
	})
	if err != nil {
		return m, fmt.Errorf("stack: pull %s from %s: %w", name, o.Reference, err)
	}
	return m, nil
}

func pull(ctx context.Context, tree *writer, o Pull, m *Manifest) error {
	var options []name.Option
	if o.PlainHTTP {
		options = append(options, name.Insecure)
	}
	reference, err := name.ParseReference(o.Reference, options...)
	if err != nil {
		return err
	}
	o.Progress("asking " + reference.Context().RegistryStr())
	// The library compares what came with a digest in the reference.
	got, err := remote.Get(reference, remote.WithContext(ctx), remote.WithPlatform(machine()),
		remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithUserAgent("deacon"))
	if err != nil {
		return err
	}
	image, err := got.Image()
	if err != nil {
		return err
	}
	digest, err := image.Digest()
	if err != nil {
		return err
	}
	m.Source = fmt.Sprintf("pull of %s, image %s", reference.Name(), digest)
	return applyImage(ctx, applying{w: tree, image: image, progress: o.Progress}, digest)
}
