package directory

import (
	"crypto/hmac"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// pathPrefix is what every link's path begins with; the instance follows.
const pathPrefix = "/instance_paths/"

// The parameters of a link. What else it has, "tail" and the like, is not signed.
const (
	paramPath      = "path"
	paramTimestamp = "timestamp"
	paramHMAC      = "hmac"
)

// What is wrong with a link.
var (
	errElsewhere = errors.New("it is no link to an instance's files")
	errForged    = errors.New("it was not signed here")
	errExpired   = errors.New("it is too old")
)

// Signer makes and checks links. Who is reached by them is not part of what is
// signed: a router in between may have changed it.
type Signer struct {
	Key      []byte
	Protocol string // http or https: of the router in front
	Host     string // by which routers know the door
	Lifetime time.Duration
	Now      func() time.Time // nil: time.Now
}

func (s *Signer) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

// URL is a link to a path of an instance, good from now on for a lifetime.
func (s *Signer) URL(instance, path string) string {
	escaped := pathPrefix + url.PathEscape(instance)
	query := signed(path, strconv.FormatInt(s.now().Unix(), 10))
	sum := s.sum(escaped, query)
	query.Set(paramHMAC, sum)
	return s.Protocol + "://" + s.Host + escaped + "?" + query.Encode()
}

func signed(path, timestamp string) url.Values {
	return url.Values{paramPath: {path}, paramTimestamp: {timestamp}}
}

func (s *Signer) sum(escaped string, query url.Values) string {
	mac := hmac.New(sha512.New, s.Key)
	mac.Write([]byte(escaped + "?" + query.Encode())) // sorted by name
	return hex.EncodeToString(mac.Sum(nil))
}

// check returns what a link is to. Nothing of it is looked at that isn't signed,
// and of each parameter there is one: of two one reader takes the first and another
// the last.
func (s *Signer) check(link *url.URL) (instance, path string, err error) {
	escaped := link.EscapedPath()
	instance, ok := strings.CutPrefix(escaped, pathPrefix)
	if !ok || instance == "" || strings.Contains(instance, "/") {
		return "", "", errElsewhere
	}
	query, err := url.ParseQuery(link.RawQuery)
	if err != nil {
		return "", "", errForged
	}
	for _, name := range []string{paramPath, paramTimestamp, paramHMAC} {
		if len(query[name]) != 1 {
			return "", "", errForged
		}
	}
	path, timestamp := query.Get(paramPath), query.Get(paramTimestamp)
	if !hmac.Equal([]byte(s.sum(escaped, signed(path, timestamp))), []byte(query.Get(paramHMAC))) {
		return "", "", errForged
	}
	// A clock that was set back makes links of the future: they are good too, but
	// not for ever.
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	age := s.now().Unix() - seconds
	if most := int64(s.Lifetime / time.Second); err != nil || age > most || age < -most {
		return "", "", errExpired
	}
	if instance, err = url.PathUnescape(instance); err != nil {
		return "", "", errElsewhere
	}
	return instance, path, nil
}
