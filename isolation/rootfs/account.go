package rootfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// accountsMax bounds /etc/passwd and /etc/group: whoever is root inside may
// make them as long as it likes.
const accountsMax = 1 << 20

// ErrNoAccount says that a container's /etc/passwd has no account of a name.
var ErrNoAccount = errors.New("the container's /etc/passwd has no such account")

// Account is a line of /etc/passwd, with ids as they are inside.
type Account struct {
	UID, GID uint32
	Home     string
}

// FindAccount looks a name up in /etc/passwd below root, of a container that
// has the ids 0 to ids-1. Nothing that is in there leads out of it.
func FindAccount(root *os.File, name string, ids uint32) (Account, error) {
	passwd, err := readAccounts(root, "etc/passwd")
	if errors.Is(err, fs.ErrNotExist) {
		return Account{}, ErrNoAccount
	}
	if err != nil {
		return Account{}, err
	}
	return findAccount(passwd, name, ids)
}

// findAccount believes the first line of the name, as the C library does.
func findAccount(passwd, name string, ids uint32) (Account, error) {
	fields := lineOf(passwd, name)
	if fields == nil {
		return Account{}, ErrNoAccount
	}
	const fieldsOfAnAccount = 7 // name, password, uid, gid, comment, home, shell
	if len(fields) != fieldsOfAnAccount {
		return Account{}, fmt.Errorf("rootfs: /etc/passwd: account %s has %d fields, not %d",
			name, len(fields), fieldsOfAnAccount)
	}
	uid, err := parseID(fields[2], ids)
	if err != nil {
		return Account{}, fmt.Errorf("rootfs: /etc/passwd: uid of %s: %w", name, err)
	}
	gid, err := parseID(fields[3], ids)
	if err != nil {
		return Account{}, fmt.Errorf("rootfs: /etc/passwd: gid of %s: %w", name, err)
	}
	home := fields[5]
	if home == "" {
		home = "/"
	}
	if home[0] != '/' || strings.Contains(home, "\x00") {
		return Account{}, fmt.Errorf("rootfs: /etc/passwd: home of %s: %q is no absolute path", name, home)
	}
	return Account{UID: uid, GID: gid, Home: home}, nil
}

// lineOf is the first line of a name, in fields.
func lineOf(text, name string) []string {
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if first, _, found := strings.Cut(line, ":"); found && first == name && name != "" {
			return strings.Split(line, ":")
		}
	}
	return nil
}

func parseID(text string, ids uint32) (uint32, error) {
	id, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, err
	}
	if id >= uint64(ids) {
		return 0, fmt.Errorf("%d is not among the container's %d ids", id, ids)
	}
	return uint32(id), nil
}

// readAccounts reads a file of a tree that others fill: its links stay in the
// tree, and what is no plain file is not waited for.
func readAccounts(root *os.File, name string) (string, error) {
	fd, err := unix.Openat2(int(root.Fd()), name, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return "", fmt.Errorf("rootfs: /%s: %w", name, err)
	}
	file := os.NewFile(uintptr(fd), name)
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", fmt.Errorf("rootfs: /%s is no plain file", name)
	}
	content, err := io.ReadAll(io.LimitReader(file, accountsMax+1))
	if err != nil {
		return "", fmt.Errorf("rootfs: /%s: %w", name, err)
	}
	if len(content) > accountsMax {
		return "", fmt.Errorf("rootfs: /%s is longer than %d bytes", name, accountsMax)
	}
	return string(content), nil
}
