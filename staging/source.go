package staging

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"net/url"
	"path/filepath"
	"strings"
)

// Source says where a droplet comes from and what it must hash to. One of the
// digests has to be given; if both are, both have to be right.
type Source struct {
	URI    string // http, https or file; may carry user:password, which is never printed
	SHA1   string // hex; empty: not given
	SHA256 string // hex; empty: not given
}

const (
	sha1Prefix   = "sha1-"
	sha256Prefix = "sha256-"
)

// digests are the two digests of one body, in lower-case hex. An empty one was
// not asked for.
type digests struct {
	SHA1   string `json:"sha1"`
	SHA256 string `json:"sha256"`
}

// wanted checks the digests of a source and returns them in lower case.
func (s Source) wanted() (digests, error) {
	d := digests{strings.ToLower(s.SHA1), strings.ToLower(s.SHA256)}
	if d.SHA1 == "" && d.SHA256 == "" {
		return d, fmt.Errorf("%w: neither sha1 nor sha256 is given", ErrSource)
	}
	if d.SHA1 != "" && !isHex(d.SHA1, sha1.Size) {
		return d, fmt.Errorf("%w: sha1 %q has not %d hexadecimal digits", ErrSource, shortened(s.SHA1), 2*sha1.Size)
	}
	if d.SHA256 != "" && !isHex(d.SHA256, sha256.Size) {
		return d, fmt.Errorf("%w: sha256 %q has not %d hexadecimal digits",
			ErrSource, shortened(s.SHA256), 2*sha256.Size)
	}
	return d, nil
}

func isHex(s string, size int) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == size
}

// name is the droplet's name in the cache: by the stronger digest that was asked for.
func (d digests) name() string {
	if d.SHA256 != "" {
		return sha256Prefix + d.SHA256
	}
	return sha1Prefix + d.SHA1
}

// isName says whether a folder has the name of a droplet.
func isName(name string) bool {
	if digest, ok := strings.CutPrefix(name, sha256Prefix); ok {
		return digest == strings.ToLower(digest) && isHex(digest, sha256.Size)
	}
	digest, ok := strings.CutPrefix(name, sha1Prefix)
	return ok && digest == strings.ToLower(digest) && isHex(digest, sha1.Size)
}

// verify compares what was asked for with what a body has.
func (d digests) verify(got digests) error {
	if d.SHA256 != "" && d.SHA256 != got.SHA256 {
		return &DigestError{Want: sha256Prefix + d.SHA256, Got: sha256Prefix + got.SHA256}
	}
	if d.SHA1 != "" && d.SHA1 != got.SHA1 {
		return &DigestError{Want: sha1Prefix + d.SHA1, Got: sha1Prefix + got.SHA1}
	}
	return nil
}

// sums hashes what is written to it. Both digests are always made, so that a
// cached droplet can be held against either.
type sums struct{ sha1, sha256 hash.Hash }

func newSums() sums { return sums{sha1.New(), sha256.New()} }

func (s sums) Write(p []byte) (int, error) {
	s.sha1.Write(p)
	return s.sha256.Write(p)
}

func (s sums) digests() digests {
	return digests{hex.EncodeToString(s.sha1.Sum(nil)), hex.EncodeToString(s.sha256.Sum(nil))}
}

// parseURI checks a source's URI. What net/url says of a wrong one is not
// passed on, because it may quote the credentials.
func parseURI(uri string, allowFiles bool) (*url.URL, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return nil, fmt.Errorf("%w: the uri doesn't parse; special characters in a password have to be "+
			"percent-encoded", ErrSource)
	}
	switch {
	case u.Scheme == "http" || u.Scheme == "https":
		if u.Host == "" {
			return nil, fmt.Errorf("%w: the uri %s names no host", ErrSource, Redacted(uri))
		}
	case u.Scheme == "file" && !allowFiles:
		return nil, fmt.Errorf("%w: file uris are not allowed on this node", ErrSource)
	case u.Scheme == "file":
		if u.Host != "" && u.Host != "localhost" || !filepath.IsAbs(u.Path) {
			return nil, fmt.Errorf("%w: a file uri has the form file:///absolute/path", ErrSource)
		}
	default:
		return nil, fmt.Errorf("%w: the uri's scheme is not http, https or file", ErrSource)
	}
	return u, nil
}

// Redacted is a URI without what may be secret: the credentials, the query (a
// signed URI's signature is there) and the fragment.
func Redacted(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || u.Opaque != "" {
		return "(a uri that doesn't parse)"
	}
	bare := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return bare.String()
}
