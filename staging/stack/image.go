package stack

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"runtime"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/deacon-agent/deacon/staging"
)

// machine is what an image must be for. Variants aren't told apart: who has
// several of one architecture names the image.
func machine() v1.Platform { return v1.Platform{OS: "linux", Architecture: runtime.GOARCH} }

// Bounds of what an index may make us read.
const (
	indexDepthMax = 4
	layersMax     = 512
)

// refName is the annotation by which a layout's index calls an image.
const refName = "org.opencontainers.image.ref.name"

// found is an image of an index, and what it is called there.
type found struct {
	v1.Image
	name   string
	digest v1.Hash
}

// choose finds the one image of an index that is for this machine: the one that
// is called name, where that is given.
func choose(index v1.ImageIndex, name string) (v1.Image, v1.Hash, error) {
	images, others, err := gather(index, "", 0)
	if err != nil {
		return nil, v1.Hash{}, err
	}
	var names []string
	var fit []found
	for _, image := range images {
		if name == "" || image.name == name || image.digest.String() == name {
			fit = append(fit, image)
		}
		names = append(names, strings.TrimSpace(image.name+" "+image.digest.String()))
	}
	switch {
	case len(fit) == 1:
		return fit[0].Image, fit[0].digest, nil
	case len(images) == 0 && len(others) > 0:
		return nil, v1.Hash{}, fmt.Errorf("it has nothing for %s, only for %s", machine(), strings.Join(others, ", "))
	case len(images) == 0:
		return nil, v1.Hash{}, errors.New("it has no image")
	case len(fit) == 0:
		return nil, v1.Hash{}, fmt.Errorf("it has no image %q; there are: %s", name, strings.Join(names, ", "))
	}
	return nil, v1.Hash{}, fmt.Errorf("it has %d images for %s, name one of them: %s", len(fit), machine(),
		strings.Join(names, ", "))
}

// gather lists the images of an index, and of those in it, that may be for this
// machine, and what the others are for.
func gather(index v1.ImageIndex, name string, depth int) (images []found, others []string, err error) {
	if depth == indexDepthMax {
		return nil, nil, fmt.Errorf("it has indexes in indexes, deeper than %d", indexDepthMax)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, nil, err
	}
	for _, entry := range manifest.Manifests {
		called := entry.Annotations[refName]
		if called == "" {
			called = name
		}
		switch p := entry.Platform; {
		case entry.MediaType.IsIndex():
			inner, err := index.ImageIndex(entry.Digest)
			if err != nil {
				return nil, nil, err
			}
			more, none, err := gather(inner, called, depth+1)
			if err != nil {
				return nil, nil, err
			}
			images, others = append(images, more...), append(others, none...)
		case !entry.MediaType.IsImage():
		case p != nil && (p.OS != machine().OS || p.Architecture != machine().Architecture):
			others = append(others, p.String())
		default:
			image, err := index.Image(entry.Digest)
			if err != nil {
				return nil, nil, err
			}
			images = append(images, found{image, called, entry.Digest})
		}
	}
	return images, others, nil
}

// applying writes an image's layers, the lowest first, and believes none of its
// digests.
type applying struct {
	w        *writer
	image    v1.Image
	saved    bool // by docker save: layers are as they are unpacked, and no manifest came with them
	progress func(string)
}

func (a applying) apply(ctx context.Context) error {
	config, err := a.config()
	if err != nil {
		return err
	}
	if p := config.Platform(); p.OS != machine().OS || p.Architecture != machine().Architecture {
		return fmt.Errorf("the image is for %s, and this machine is %s", p, machine())
	}
	layers, err := a.image.Layers()
	if err != nil {
		return err
	}
	if len(layers) == 0 || len(layers) > layersMax || len(layers) != len(config.RootFS.DiffIDs) {
		return fmt.Errorf("the image has %d layers, and its configuration tells of %d; at most %d",
			len(layers), len(config.RootFS.DiffIDs), layersMax)
	}
	for i, layer := range layers {
		a.progress(fmt.Sprintf("layer %d of %d", i+1, len(layers)))
		if err := a.layer(ctx, layer, config.RootFS.DiffIDs[i]); err != nil {
			return fmt.Errorf("layer %d of %d: %w", i+1, len(layers), err)
		}
	}
	return a.w.finish()
}

// config reads the image's configuration, which is what the manifest says it is.
func (a applying) config() (*v1.ConfigFile, error) {
	raw, err := a.image.RawConfigFile()
	if err != nil {
		return nil, fmt.Errorf("the image's configuration: %w", err)
	}
	if !a.saved {
		manifest, err := a.image.Manifest()
		if err != nil {
			return nil, fmt.Errorf("the image's manifest: %w", err)
		}
		if err := matches("the image's configuration", manifest.Config.Digest, raw); err != nil {
			return nil, err
		}
	}
	return a.image.ConfigFile()
}

// layer unpacks one layer. What arrives is hashed twice: as it came, which the
// manifest vouches for, and decompressed, which the configuration does.
func (a applying) layer(ctx context.Context, layer v1.Layer, diff v1.Hash) error {
	sum := sha256.New()
	body, want, err := a.open(layer)
	if err != nil {
		return err
	}
	defer body.Close()
	came := bufio.NewReaderSize(io.TeeReader(interruptible{ctx, body}, sum), copySize)
	plain, done, err := staging.Decompress(came)
	if err != nil {
		return err
	}
	defer done()
	unpacked := sha256.New()
	a.w.beginLayer()
	failed := a.w.untarPlain(io.TeeReader(plain, unpacked))
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if isRefusal(failed) {
		return failed
	}
	// A layer that is torn or another's is told by its digest, whatever else came of it.
	if _, err := io.Copy(io.Discard, came); err != nil {
		return errors.Join(failed, err)
	}
	if want != (v1.Hash{}) {
		if err := agree("the layer", want, sum); err != nil {
			return err
		}
	}
	if failed != nil && !errors.Is(failed, errCutOff) { // for its end the digest vouches
		return failed
	}
	return agree("the unpacked layer", diff, unpacked)
}

// isRefusal says whether the archive is one that we don't want, whole or not.
func isRefusal(err error) bool {
	_, entry := errors.AsType[*staging.EntryError](err)
	_, limit := errors.AsType[*staging.LimitError](err)
	return entry || limit
}

// open reads a layer as it came. The zero hash says that nobody vouches for that.
func (a applying) open(layer v1.Layer) (io.ReadCloser, v1.Hash, error) {
	if a.saved {
		body, err := layer.Uncompressed()
		return body, v1.Hash{}, err
	}
	kind, err := layer.MediaType()
	if err != nil {
		return nil, v1.Hash{}, err
	}
	if !kind.IsLayer() || kind == types.DockerForeignLayer {
		return nil, v1.Hash{}, fmt.Errorf("it is of the kind %q, which is no layer of a root file system", kind)
	}
	want, err := layer.Digest()
	if err != nil {
		return nil, v1.Hash{}, err
	}
	body, err := layer.Compressed()
	return body, want, err
}

func matches(what string, want v1.Hash, body []byte) error {
	sum := sha256.New()
	sum.Write(body)
	return agree(what, want, sum)
}

func agree(what string, want v1.Hash, sum hash.Hash) error {
	got := "sha256:" + hex.EncodeToString(sum.Sum(nil))
	if got != want.String() {
		return &MismatchError{what, want.String(), got}
	}
	return nil
}
