package stack

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Difference is what isn't as it was made.
type Difference struct {
	Path string `json:"path"`
	What string `json:"what"` // changed, missing, added
}

// lineMax bounds a line of the list: two paths and attributes, quoted.
const lineMax = 1 << 20

// Verify compares a stack's tree with what it was when it was made. The error
// says that this can't be told, because its manifest or list is damaged.
func (s *Store) Verify(ctx context.Context, name string) (Manifest, []Difference, error) {
	m, err := s.manifest(name)
	if err != nil {
		return m, nil, fmt.Errorf("stack: verify %s: %w", name, err)
	}
	differences, err := s.compare(ctx, m)
	if err != nil {
		return m, nil, fmt.Errorf("stack: verify %s: %w", name, err)
	}
	return m, differences, nil
}

func (s *Store) compare(ctx context.Context, m Manifest) ([]Difference, error) {
	wanted, err := readLines(filepath.Join(s.dir, m.Name, filesName), m.Digest)
	if err != nil {
		return nil, err
	}
	var differences []Difference
	_, err = list(ctx, s.Tree(m.Name), func(path, line string) error {
		switch want, known := wanted[path]; {
		case !known:
			differences = append(differences, Difference{path, "added"})
		case want != line:
			differences = append(differences, Difference{path, "changed"})
		}
		delete(wanted, path)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, path := range slices.Sorted(maps.Keys(wanted)) {
		differences = append(differences, Difference{path, "missing"})
	}
	return differences, nil
}

// readLines reads a list by its paths, if it is the one that has the digest.
func readLines(path, digest string) (map[string]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	sum, lines := sha256.New(), map[string]string{}
	scanner := bufio.NewScanner(io.TeeReader(file, sum))
	scanner.Buffer(nil, lineMax)
	for scanner.Scan() {
		quoted, err := quotedPath(scanner.Text())
		if err != nil {
			return nil, fmt.Errorf("%s is damaged: %w", path, err)
		}
		lines[quoted] = scanner.Text()
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if got := "sha256:" + hex.EncodeToString(sum.Sum(nil)); got != digest {
		return nil, fmt.Errorf("%s is damaged: %w", path, &MismatchError{"the list of files", digest, got})
	}
	return lines, nil
}

// quotedPath finds the path in a line.
func quotedPath(line string) (string, error) {
	const before = 6
	rest := line
	for range before {
		_, after, found := strings.Cut(rest, " ")
		if !found {
			return "", fmt.Errorf("the line %q has no path", line)
		}
		rest = after
	}
	quoted, err := strconv.QuotedPrefix(rest)
	if err != nil {
		return "", fmt.Errorf("the line %q has no path", line)
	}
	return strconv.Unquote(quoted)
}
