package staging

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"go.yaml.in/yaml/v3"
)

// Info is what a droplet says of itself, and how it is packed.
type Info struct {
	StartCommand string // empty: none
	Buildpack    string // what found out the start command; empty: left out
	// Zstd packs with zstd, which only deacon unpacks. gzip is what every
	// reader of droplets expects.
	Zstd bool
}

// Digests are the digests of a sealed droplet, in lower-case hex.
type Digests struct{ SHA1, SHA256 string }

// sealed is the time of everything in a sealed droplet, so that the same
// folder always has the same digest. It is the earliest one that zip files,
// and thus Python's, can express.
var sealed = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// Seal writes the folder appDir to w as a droplet. The same folder and info
// make the same bytes.
func Seal(w io.Writer, appDir string, info Info) (Digests, error) {
	hashes := newSums()
	if err := seal(io.MultiWriter(w, hashes), appDir, info); err != nil {
		return Digests{}, fmt.Errorf("staging: seal %s: %w", appDir, err)
	}
	return Digests(hashes.digests()), nil
}

func seal(w io.Writer, appDir string, packing Info) error {
	app, err := os.OpenRoot(appDir)
	if err != nil {
		return err
	}
	defer app.Close()
	description, err := yaml.Marshal(info{packing.Buildpack, packing.StartCommand})
	if err != nil {
		return err
	}
	compressed, err := compress(w, packing)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(compressed)
	for _, folder := range append([]string{"."}, always[1:]...) {
		if err := archive.WriteHeader(folderHeader(folder)); err != nil {
			return err
		}
	}
	header := fileHeader(infoName, 0o644, int64(len(description)))
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	if _, err := archive.Write(description); err != nil {
		return err
	}
	if err := sealApp(archive, app); err != nil {
		return err
	}
	return errors.Join(archive.Close(), compressed.Close())
}

func compress(w io.Writer, packing Info) (io.WriteCloser, error) {
	if packing.Zstd {
		return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	}
	return gzip.NewWriter(w), nil
}

// sealApp adds the application, in the order of names.
func sealApp(archive *tar.Writer, app *os.Root) error {
	return fs.WalkDir(app.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		found, err := entry.Info()
		if err != nil {
			return err
		}
		inDroplet := path.Join(always[0], name)
		switch found.Mode().Type() {
		case fs.ModeDir:
			return archive.WriteHeader(folderHeader(inDroplet))
		case fs.ModeSymlink:
			target, err := app.Readlink(name)
			if err != nil {
				return err
			}
			return archive.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "./" + inDroplet,
				Linkname: target, Mode: 0o777, ModTime: sealed})
		case 0:
			return sealFile(archive, app, name)
		}
		return fmt.Errorf("%s is neither a file, a folder nor a symbolic link", name)
	})
}

func sealFile(archive *tar.Writer, app *os.Root, name string) error {
	file, err := app.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	found, err := file.Stat()
	if err != nil {
		return err
	}
	mode := permissions(found.Mode()) | 0o400
	if err := archive.WriteHeader(fileHeader(path.Join(always[0], name), mode, found.Size())); err != nil {
		return err
	}
	n, err := io.Copy(archive, file)
	if errors.Is(err, tar.ErrWriteTooLong) || err == nil && n != found.Size() {
		return fmt.Errorf("%s changed while it was packed", name)
	}
	return err
}

func folderHeader(name string) *tar.Header {
	if name != "." {
		name = "./" + name
	}
	return &tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, ModTime: sealed}
}

func fileHeader(name string, mode fs.FileMode, size int64) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: "./" + name, Mode: int64(mode.Perm()), Size: size,
		ModTime: sealed}
}
