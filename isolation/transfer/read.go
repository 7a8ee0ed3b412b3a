package transfer

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Read returns a file below root that others fill and change meanwhile, of at
// most most bytes. It never waits and nothing leads it out: links stay below
// root and on its file system, and what is no plain file is not even opened.
func Read(root *os.File, path string, most int64) ([]byte, error) {
	found, err := resolveBeside(int(root.Fd()), path)
	if err != nil {
		return nil, failed("open", path, err)
	}
	defer found.Close()
	st, err := status(found)
	switch {
	case err != nil:
		return nil, failed("stat", path, err)
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return nil, failed("read", path, fmt.Errorf("it is no plain file"))
	case st.Size > most:
		return nil, failed("read", path, fmt.Errorf("it is longer than %d bytes", most))
	}
	// The very file that was looked at, whatever has its name by now.
	file, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", found.Fd()), os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, failed("open", path, err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(content)) > most { // it has grown
		err = fmt.Errorf("it is longer than %d bytes", most)
	}
	if err != nil {
		return nil, failed("read", path, err)
	}
	return content, nil
}
