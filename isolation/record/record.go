package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrCorrupt says that a file is not what was saved: torn, truncated or changed.
var ErrCorrupt = errors.New("the record is corrupt")

// SizeMax bounds a record; one that is larger was not written here.
const SizeMax = 4 << 20

// None is a record that says nothing: each field has its zero value.
var None, _ = encode(struct{}{}) // which can't fail

// temporarySuffix marks a file that is being written. One that is left over
// came from an agent that died, and the next Save replaces it.
const temporarySuffix = ".new"

// IsSpare says of a file's name that it is no record: what a Save was writing,
// or what Replace keeps for the next.
func IsSpare(name string) bool { return strings.HasSuffix(name, temporarySuffix) }

// Save replaces the record called name in dir by v. It appears whole or not at all.
func Save(dir, name string, v any) error {
	_, err := save(dir, name, v, false)
	return err
}

// SaveDurable is Save that survives a power failure once it has returned.
func SaveDurable(dir, name string, v any) error {
	folder, err := save(dir, name, v, true)
	if err != nil {
		return err
	}
	handle, err := os.Open(folder)
	if err != nil {
		return fmt.Errorf("record: save %s: %w", name, err)
	}
	defer handle.Close()
	if err := handle.Sync(); err != nil {
		return fmt.Errorf("record: sync the folder of %s: %w", name, err)
	}
	return nil
}

// Replace is Save for a record that is written often and need not survive a
// power failure: what the record was becomes the file that the next one is
// written to, which stays beside it and is no record. No file is made or
// removed: an ext4 without a journal finds the number of a new one by passing
// over all that were removed in the last minutes.
func Replace(dir, name string, v any) error {
	body, err := encode(v)
	if err != nil {
		return fmt.Errorf("record: encode %s: %w", name, err)
	}
	path := filepath.Join(dir, name)
	if err := replace(path, body); err != nil {
		return fmt.Errorf("record: replace %s: %w", name, err)
	}
	return nil
}

func replace(path string, body []byte) error {
	file, err := os.OpenFile(path+temporarySuffix, os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(body)
	if err == nil {
		err = file.Truncate(int64(len(body)))
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	err = unix.Renameat2(unix.AT_FDCWD, path+temporarySuffix, unix.AT_FDCWD, path, unix.RENAME_EXCHANGE)
	if err == nil {
		return nil
	}
	return os.Rename(path+temporarySuffix, path)
}

func save(dir, name string, v any, durable bool) (string, error) {
	body, err := encode(v)
	if err != nil {
		return "", fmt.Errorf("record: encode %s: %w", name, err)
	}
	path := filepath.Join(dir, name)
	if err := write(path+temporarySuffix, body, durable); err != nil {
		return "", fmt.Errorf("record: save %s: %w", name, err)
	}
	if err := os.Rename(path+temporarySuffix, path); err != nil {
		return "", fmt.Errorf("record: save %s: %w", name, err)
	}
	return dir, nil
}

func write(path string, body []byte, durable bool) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(body)
	if err == nil && durable {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// encode makes the JSON on one line, and its checksum on a second.
func encode(v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if len(body) > SizeMax {
		return nil, fmt.Errorf("%d bytes are more than %d", len(body), SizeMax)
	}
	return fmt.Appendf(body, "\n%08x\n", crc32.ChecksumIEEE(body)), nil
}

// Load reads the record called name in dir into v. The error is fs.ErrNotExist
// where there is none, and ErrCorrupt with the file's name where it is damaged.
func Load(dir, name string, v any) error {
	body, err := read(dir, name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("record: %s: %w: %w", filepath.Join(dir, name), ErrCorrupt, err)
	}
	return nil
}

// LoadSpare is Load for what Replace replaced the last time, where it did.
func LoadSpare(dir, name string, v any) error { return Load(dir, name+temporarySuffix, v) }

// Check says of a record what Load would, but whether it means anything.
func Check(dir, name string) error {
	_, err := read(dir, name)
	return err
}

// read is a record's JSON, as it was saved.
func read(dir, name string) ([]byte, error) {
	path := filepath.Join(dir, name)
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("record: load: %w", err)
	}
	body, sum, found := bytes.Cut(content, []byte("\n"))
	if !found || string(sum) != fmt.Sprintf("%08x\n", crc32.ChecksumIEEE(body)) {
		return nil, fmt.Errorf("record: %s: %w", path, ErrCorrupt)
	}
	return body, nil
}
