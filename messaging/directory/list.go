package directory

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// entriesMax bounds a listing: it is sorted, so all of it is in memory at once.
const entriesMax = 100_000

var errCrowded = errors.New("there are too many entries to be listed")

// list sends a line for each entry of a folder.
func list(w http.ResponseWriter, folder *os.File) {
	body, err := listing(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist): // removed since it was opened
		w.Header().Set("X-Cascade", "pass")
		plainly(w, http.StatusBadRequest, "Entity not found.\n")
		return
	case errors.Is(err, errCrowded):
		plainly(w, http.StatusInternalServerError, "Can't serve request due to error: "+err.Error())
		return
	case err != nil:
		failed(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body) // who has gone has gone
}

func listing(folder *os.File) ([]byte, error) {
	names, err := folder.Readdirnames(entriesMax + 1)
	if len(names) == 0 && err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(names) > entriesMax {
		return nil, errCrowded
	}
	slices.Sort(names)
	var body bytes.Buffer
	for _, name := range names {
		var st unix.Stat_t
		err := unix.Fstatat(int(folder.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
		if errors.Is(err, unix.ENOENT) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		size := sizeText(st.Size)
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			name, size = name+"/", "-"
		}
		fmt.Fprintf(&body, "%-35s %10s\n", name, size)
	}
	return body.Bytes(), nil
}

// sizeText is a size as clients have always seen it.
func sizeText(size int64) string {
	for _, unit := range []struct {
		shift uint
		name  string
	}{{40, "T"}, {30, "G"}, {20, "M"}, {10, "K"}} {
		if size >= 1<<unit.shift {
			return fmt.Sprintf("%.1f%s", float64(size)/float64(int64(1)<<unit.shift), unit.name)
		}
	}
	return fmt.Sprintf("%dB", size)
}
