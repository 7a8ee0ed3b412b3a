package staging

import (
	"errors"
	"fmt"
)

// ErrSource says that a source is not one that can be fetched; nothing was tried.
var ErrSource = errors.New("not a source that can be fetched")

// DigestError says that a body isn't what was asked for. Nothing of it was kept.
type DigestError struct {
	Want, Got string // "sha1-<hex>" or "sha256-<hex>"
}

func (e *DigestError) Error() string {
	return fmt.Sprintf("the digest is %s, want %s", e.Got, e.Want)
}

// StatusError says that a server didn't answer 200.
type StatusError struct {
	Code int
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("the server answered %d, only 200 is a droplet", e.Code)
}

// EntryError refuses an archive because of one of its entries.
type EntryError struct {
	Entry  string
	Reason string
}

func (e *EntryError) Error() string {
	return fmt.Sprintf("entry %q %s", shortened(e.Entry), e.Reason)
}

// LimitError says which of our bounds a body or archive exceeds.
type LimitError struct {
	What string
	Max  int64
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("%s: more than the %d that are allowed", e.What, e.Max)
}

// shortened keeps what an archive says of itself from filling a log.
func shortened(name string) string {
	const max = 256
	if len(name) <= max {
		return name
	}
	return name[:max] + "..."
}
