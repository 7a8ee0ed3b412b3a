package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// vcap is the account that applications run as, where the layers have none of
// that name.
const (
	vcapName  = "vcap"
	vcapHome  = "/home/vcap"
	vcapShell = "/bin/bash"
)

// accounting is the writing of an account into a container: its layers, topmost
// first, and the upper folder, where the ids from 0 are those from uid on.
type accounting struct {
	layers   []*os.File
	upper    int
	uid, ids uint32
}

// WriteAccount makes sure of the account vcap in a container whose layers these
// are, topmost first, and whose ids are the ids from uid on: in /etc/passwd,
// in /etc/group, and of its home. What the layers have in that name is theirs
// and stays as it is; nothing else is copied up.
func WriteAccount(upper *os.File, uid, ids uint32, layers []string) error {
	a := accounting{upper: int(upper.Fd()), uid: uid, ids: ids}
	defer a.close()
	if err := a.open(layers); err != nil {
		return err
	}
	passwd, err := a.read("passwd")
	if err != nil {
		return err
	}
	account, err := findAccount(passwd, vcapName, ids)
	if errors.Is(err, ErrNoAccount) {
		account, err = a.add(passwd)
	}
	if err != nil {
		return err
	}
	return a.ensureHome(account)
}

// add adds vcap to what the layers have. A group of that name is theirs.
func (a accounting) add(passwd string) (Account, error) {
	account := Account{UID: VcapID, GID: VcapID, Home: vcapHome}
	group, err := a.read("group")
	if err != nil {
		return account, err
	}
	const idField = 2 // name, password, gid, members
	if fields := lineOf(group, vcapName); len(fields) > idField {
		if account.GID, err = parseID(fields[idField], a.ids); err != nil {
			return account, fmt.Errorf("rootfs: /etc/group: gid of %s: %w", vcapName, err)
		}
	} else {
		line := fmt.Sprintf("%s:x:%d:\n", vcapName, account.GID)
		if err := writeAt(a.upper, "etc/group", withLine(group, line), a.uid); err != nil {
			return account, err
		}
	}
	line := fmt.Sprintf("%s:x:%d:%d:%s:%s:%s\n", vcapName, account.UID, account.GID, vcapName, vcapHome, vcapShell)
	return account, writeAt(a.upper, "etc/passwd", withLine(passwd, line), a.uid)
}

func withLine(text, line string) string {
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text + line
}

// ensureHome makes the home of an account where the layers have none, and gives
// it to the account where it is vcap's and another's. Folders above it are as
// the layers have them.
func (a accounting) ensureHome(account Account) error {
	home := strings.TrimPrefix(path.Clean(account.Home), "/")
	if home == "" {
		return nil
	}
	st, found, err := a.stat(home)
	if err != nil || found && st.Uid == account.UID && st.Gid == account.GID || found && "/"+home != vcapHome {
		return err
	}
	for i := range len(home) + 1 {
		if i < len(home) && home[i] != '/' {
			continue
		}
		owner := Account{}
		if i == len(home) {
			owner = account
		}
		if err := a.folder(home[:i], owner); err != nil {
			return fmt.Errorf("rootfs: make /%s: %w", home[:i], err)
		}
	}
	return nil
}

// folder makes a folder in upper, over that of the layers where they have one.
func (a accounting) folder(name string, owner Account) error {
	st, found, err := a.stat(name)
	switch {
	case err != nil:
		return err
	case found && st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return unix.ENOTDIR
	case !found:
		st.Mode = 0o755
	case owner == Account{} && st.Uid < a.ids && st.Gid < a.ids: // beyond them is nobody
		owner = Account{UID: st.Uid, GID: st.Gid}
	}
	if err := unix.Mkdirat(a.upper, name, 0o700); err == unix.EEXIST {
		return nil // /etc, written before
	} else if err != nil {
		return err
	}
	uid, gid := int(a.uid+owner.UID), int(a.uid+owner.GID)
	if err := unix.Fchownat(a.upper, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	return unix.Fchmodat(a.upper, name, st.Mode&0o7777, 0)
}

func (a *accounting) open(layers []string) error {
	for _, layer := range layers {
		folder, err := os.OpenFile(layer, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return fmt.Errorf("rootfs: %w", err)
		}
		a.layers = append(a.layers, folder)
	}
	return nil
}

func (a *accounting) close() {
	for _, layer := range a.layers {
		layer.Close()
	}
}

// read reads a file of /etc as the overlay would show it; "" where it shows none.
func (a accounting) read(name string) (string, error) {
	for _, layer := range a.layers {
		content, err := readAccounts(layer, "etc/"+name)
		if err == nil {
			return content, nil
		}
		if hidden, failed := hides(layer, name); failed != nil || hidden {
			return "", failed
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", nil
}

// hides says whether a layer has the ones below not show their /etc, or a file
// in there: by a whiteout (a device 0,0), or a folder that is marked.
func hides(layer *os.File, name string) (bool, error) {
	for _, path := range []string{"etc", "etc/" + name} {
		st, found, err := statIn(layer, path)
		if err != nil {
			return false, err
		}
		if !found {
			return false, nil
		}
		if st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 {
			return true, nil
		}
		if opaque(layer, path) {
			return true, nil
		}
	}
	return false, nil
}

func opaque(layer *os.File, path string) bool {
	value := make([]byte, 1)
	n, err := unix.Lgetxattr("/proc/self/fd/"+strconv.Itoa(int(layer.Fd()))+"/"+path, "trusted.overlay.opaque", value)
	return err == nil && n == 1 && value[0] == 'y'
}

// stat is of the topmost layer that has the file.
func (a accounting) stat(name string) (st unix.Stat_t, found bool, err error) {
	for _, layer := range a.layers {
		if st, found, err = statIn(layer, name); found || err != nil {
			return st, found, err
		}
	}
	return st, false, nil
}

// statIn doesn't follow a link at the end; on the way there none leads out.
func statIn(layer *os.File, name string) (st unix.Stat_t, found bool, err error) {
	fd, err := unix.Openat2(int(layer.Fd()), name, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err == unix.ENOENT {
		return st, false, nil
	}
	if err == nil {
		err = unix.Fstat(fd, &st)
		unix.Close(fd)
	}
	if err != nil {
		return st, false, fmt.Errorf("rootfs: /%s of %s: %w", name, layer.Name(), err)
	}
	return st, true, nil
}
