package stack

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"strings"
)

// What stands around a key that is written as text.
const (
	armorBegin = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
	armorEnd   = "-----END PGP PUBLIC KEY BLOCK-----"
)

// keyringMax bounds a file of keys.
const keyringMax = 4 << 20

// keyring is what debootstrap is to trust, as one file of the form that gpgv
// reads: keys one after the other, not armored. Nil: the source names none.
func (s source) keyring() ([]byte, error) {
	var keys []byte
	for _, file := range s.signedBy {
		info, err := os.Stat(file)
		if err == nil && info.Size() > keyringMax {
			err = fmt.Errorf("%s is larger than %d bytes", file, keyringMax)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: signed-by: %w", s.at, err)
		}
		content, err := os.ReadFile(file)
		if err == nil {
			content, err = dearmor(content)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: signed-by: %s: %w", s.at, file, err)
		}
		keys = append(keys, content...)
	}
	if s.key == "" {
		return keys, nil
	}
	content, err := dearmor([]byte(s.key))
	if err != nil {
		return nil, fmt.Errorf("%s: signed-by: %w", s.at, err)
	}
	return append(keys, content...), nil
}

// dearmor takes keys out of their text form (RFC 9580, 6.2); what has none is
// returned as it is.
func dearmor(content []byte) ([]byte, error) {
	if !bytes.Contains(content, []byte(armorBegin)) {
		return content, nil
	}
	var keys []byte
	rest := string(content)
	for {
		_, after, found := strings.Cut(rest, armorBegin)
		if !found {
			return keys, nil
		}
		block, after, found := strings.Cut(after, armorEnd)
		if !found {
			return nil, fmt.Errorf("a key has no %q", armorEnd)
		}
		rest = after
		key, err := base64.StdEncoding.DecodeString(armorBody(block))
		if err != nil {
			return nil, fmt.Errorf("a key isn't readable: %w", err)
		}
		keys = append(keys, key...)
	}
}

// armorBody leaves out the headers, which end with an empty line, and the
// checksum, which begins with an equals sign. In an apt source a dot stands for
// the empty line.
func armorBody(block string) string {
	var body strings.Builder
	for line := range strings.Lines(block) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line == "." || strings.Contains(line, ": "):
		case strings.HasPrefix(line, "="):
			return body.String()
		default:
			body.WriteString(line)
		}
	}
	return body.String()
}
