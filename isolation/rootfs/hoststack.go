package rootfs

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// VcapID is the user and group that applications run as, inside.
const VcapID = 2000

// bundleMax bounds a file that is copied from the node's /etc.
const bundleMax = 4 << 20

// entry is one file of a generated layer: a folder, a link or a file.
type entry struct {
	path   string
	mode   fs.FileMode
	target string // of a link
	body   []byte // of a file
	owner  int
}

// usrLinks are the top-level names that a merged-/usr system keeps as links.
var usrLinks = []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32"}

// HostStack generates the lowest layer of the stack "host": links to the
// node's /usr (which is bound over it, read-only), empty mount points, and an
// /etc of its own. Nothing else of the node is in it. The folder is named
// after its content, so a living container's layer is never changed under it.
func HostStack(stacks string, dns []netip.Addr) (string, error) {
	entries, err := hostEntries(dns)
	if err != nil {
		return "", fmt.Errorf("rootfs: stack host: %w", err)
	}
	dir := filepath.Join(stacks, "host-"+digestOf(entries))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(stacks, 0o711); err != nil {
		return "", fmt.Errorf("rootfs: stack host: %w", err)
	}
	temporary, err := os.MkdirTemp(stacks, "new-")
	if err != nil {
		return "", fmt.Errorf("rootfs: stack host: %w", err)
	}
	defer os.RemoveAll(temporary)
	if err := writeEntries(temporary, entries); err != nil {
		return "", fmt.Errorf("rootfs: stack host: %w", err)
	}
	if err := os.Rename(temporary, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("rootfs: stack host: %w", err)
	}
	return dir, nil
}

func hostEntries(dns []netip.Addr) ([]entry, error) {
	var entries []entry
	folder := func(mode fs.FileMode, owner int, paths ...string) {
		for _, path := range paths {
			entries = append(entries, entry{path: path, mode: fs.ModeDir | mode, owner: owner})
		}
	}
	folder(0o755, 0, ".", "dev", "etc", "etc/ssl", "etc/ssl/certs", "etc/alternatives", "home", "media", "mnt", "opt",
		"proc", "run", "srv", "sys", "usr", "var", "var/lib", "var/log", "var/cache")
	folder(0o700, 0, "root")
	folder(fs.ModeSticky|0o777, 0, "tmp", "var/tmp")
	folder(0o755, VcapID, "home/vcap", "home/vcap/app", "home/vcap/logs", "home/vcap/tmp")
	for _, name := range usrLinks {
		target, err := os.Readlink("/" + name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("/%s is no link into /usr; this stack needs a merged /usr: %w", name, err)
		}
		entries = append(entries, entry{path: name, mode: fs.ModeSymlink, target: target})
	}
	link := func(path, target string) {
		entries = append(entries, entry{path: path, mode: fs.ModeSymlink, target: target})
	}
	link("app", "home/vcap/app")
	link("etc/mtab", "/proc/self/mounts")
	link("etc/os-release", "../usr/lib/os-release")
	entries = append(entries, etcFiles(dns)...)
	copied, err := copiedEntries()
	return append(entries, copied...), err
}

// etcFiles are written here and hold nothing of the node but its resolvers.
func etcFiles(dns []netip.Addr) []entry {
	files := map[string]string{
		"passwd": "root:x:0:0:root:/root:/bin/sh\n" +
			"daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n" +
			fmt.Sprintf("vcap:x:%d:%d:vcap:/home/vcap:/bin/bash\n", VcapID, VcapID) +
			"nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
		"group": fmt.Sprintf("root:x:0:\ndaemon:x:1:\ntty:x:5:\nvcap:x:%d:\nnogroup:x:65534:\n", VcapID),
		"hosts": "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n",
		"nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n" +
			"networks: files\nprotocols: files\nservices: files\n",
		"host.conf":   "multi on\n",
		"resolv.conf": resolvConf(dns),
	}
	var entries []entry
	for name, body := range files {
		entries = append(entries, entry{path: "etc/" + name, mode: 0o644, body: []byte(body)})
	}
	return entries
}

// copiedEntries are what programs below /usr can't do without: the dynamic
// linker's cache, certificates, alternatives, the time zone and the well-known
// numbers. A file that not everybody may read on the node is left out.
func copiedEntries() ([]entry, error) {
	var entries []entry
	for _, name := range []string{"ld.so.cache", "ld.so.conf", "localtime", "services", "protocols", "mime.types"} {
		found, err := copyEntry("etc/" + name)
		if err != nil {
			return nil, err
		}
		entries = append(entries, found...)
	}
	for _, dir := range []string{"etc/ssl/certs", "etc/alternatives"} {
		listed, err := os.ReadDir("/" + dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, item := range listed {
			found, err := copyEntry(dir + "/" + item.Name())
			if err != nil {
				return nil, err
			}
			entries = append(entries, found...)
		}
	}
	return entries, nil
}

// copyEntry returns one entry, or none where there is nothing fit to be copied.
func copyEntry(path string) ([]entry, error) {
	info, err := os.Lstat("/" + path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	switch {
	case info.Mode().Type() == fs.ModeSymlink:
		target, err := os.Readlink("/" + path)
		if err != nil {
			return nil, err
		}
		return []entry{{path: path, mode: fs.ModeSymlink, target: target}}, nil
	case info.Mode().IsRegular() && info.Mode().Perm()&0o004 != 0 && info.Size() <= bundleMax:
		body, err := os.ReadFile("/" + path)
		if err != nil {
			return nil, err
		}
		return []entry{{path: path, mode: 0o644, body: body}}, nil
	}
	return nil, nil
}

func digestOf(entries []entry) string {
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.path, b.path) })
	h := sha256.New()
	for _, e := range entries {
		fmt.Fprintf(h, "%s %o %d %q %x\n", e.path, e.mode, e.owner, e.target, sha256.Sum256(e.body))
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

func writeEntries(dir string, entries []entry) error {
	for _, e := range entries { // sorted, so a folder comes before what is in it
		if err := writeEntry(filepath.Join(dir, e.path), e); err != nil {
			return err
		}
	}
	return nil
}

func writeEntry(path string, e entry) error {
	var err error
	switch e.mode.Type() {
	case fs.ModeSymlink:
		return os.Symlink(e.target, path)
	case fs.ModeDir:
		if err = os.Mkdir(path, 0o700); errors.Is(err, fs.ErrExist) {
			err = nil // the top, made by MkdirTemp
		}
	default:
		err = os.WriteFile(path, e.body, 0o600)
	}
	if err != nil {
		return err
	}
	if err := os.Chown(path, e.owner, e.owner); err != nil {
		return err
	}
	// After Chown and past the umask.
	return os.Chmod(path, e.mode&(fs.ModePerm|fs.ModeSticky))
}
