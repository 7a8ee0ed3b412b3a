package staging

import (
	"io/fs"
	"path"
	"strings"
	"time"
)

const (
	// componentMax is the kernel's NAME_MAX.
	componentMax = 255
	// nameMax keeps a name below the kernel's PATH_MAX of 4096 wherever the
	// layer lies and wherever it is mounted.
	nameMax = 3072
	// targetMax is what the kernel takes for a symbolic link.
	targetMax = 4095
)

// EntryName turns the name of an archive's entry into a clean path below what is
// unpacked; that itself is ".". The error is an *EntryError.
func EntryName(raw string) (string, error) {
	switch {
	case raw == "":
		return "", &EntryError{raw, "has no name"}
	case strings.ContainsRune(raw, 0):
		return "", &EntryError{raw, "has a zero byte in its name"}
	case raw[0] == '/':
		return "", &EntryError{raw, "has an absolute name"}
	case len(raw) > nameMax:
		return "", &EntryError{raw, "has a name that is too long"}
	}
	for component := range strings.SplitSeq(raw, "/") {
		switch {
		case component == "..":
			// Refused even where it would stay inside: no stager writes it.
			return "", &EntryError{raw, "climbs with .."}
		case len(component) > componentMax:
			return "", &EntryError{raw, "has a name that is too long"}
		}
	}
	return path.Clean(raw), nil
}

// permissions are what is kept of an entry's mode: nobody but vcap may write,
// and no bit above the nine.
func permissions(mode fs.FileMode) fs.FileMode { return mode & 0o755 }

// modified is an entry's time, or the epoch where it is one that file systems
// or interpreters choke on.
func modified(t time.Time) time.Time {
	if t.Year() < 1970 || t.Year() > 2200 {
		return time.Unix(0, 0)
	}
	return t
}
