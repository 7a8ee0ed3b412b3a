package legacy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// PIDFile tells others the number of this process. Nobody here believes one:
// who is alive is known by locks.
type PIDFile struct{ path string }

// WritePIDFile writes this process's number, whatever is there already; a
// reader finds the old content or the new. The file's folder must exist.
func WritePIDFile(path string) (*PIDFile, error) {
	if err := replace(path, strconv.Itoa(os.Getpid())+"\n"); err != nil {
		return nil, fmt.Errorf("legacy: write the pid file: %w", err)
	}
	return &PIDFile{path}, nil
}

func replace(path, text string) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(file.Name())
		}
	}()
	_, err = file.WriteString(text)
	if err = errors.Join(err, file.Chmod(0o644), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

// Remove takes the file away, unless another process has put its own number
// there since.
func (p *PIDFile) Remove() error {
	body, err := os.ReadFile(p.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("legacy: remove the pid file: %w", err)
	case strings.TrimSpace(string(body)) != strconv.Itoa(os.Getpid()):
		return nil
	}
	if err := os.Remove(p.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("legacy: remove the pid file: %w", err)
	}
	return nil
}
