package stack

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// vcap is the account that applications run as. Droplets belong to this user,
// and the agent asks for it by number.
const (
	vcapName  = "vcap"
	vcapID    = 2000
	vcapHome  = "home/vcap"
	vcapShell = "/bin/bash"
)

// place is a folder that every stack has.
type place struct {
	name  string
	mode  uint32
	owner int
}

// places are those that the agent mounts on or writes into, and those that
// programs take for granted.
var places = []place{
	{"dev", 0o755, 0}, {"proc", 0o755, 0}, {"sys", 0o755, 0}, {"run", 0o755, 0}, {"etc", 0o755, 0},
	{"tmp", 0o1777, 0}, {"var/tmp", 0o1777, 0}, {"root", 0o700, 0},
	{vcapHome, 0o755, vcapID}, {vcapHome + "/app", 0o755, vcapID}, {vcapHome + "/logs", 0o755, vcapID},
	{vcapHome + "/tmp", 0o755, vcapID},
}

// complete makes what a stack needs and doesn't have, and says what that was and
// what is odd. What is there stays as it is.
func (t *tree) complete() (added, notes []string, err error) {
	if err := unix.Fchmodat(unix.AT_FDCWD, descriptor(t.root), 0o755, 0); err != nil {
		return nil, nil, err // or nobody but root could enter
	}
	for _, p := range places {
		made, err := t.make(p)
		if err != nil {
			return nil, nil, fmt.Errorf("make /%s: %w", p.name, err)
		}
		if made {
			added = append(added, "/"+p.name)
		}
	}
	more, notes, err := t.account()
	if err != nil {
		return nil, nil, err
	}
	if !t.has("app") { // where droplets of old expect themselves
		if err := unix.Symlinkat(vcapHome+"/app", t.rootFD(), "app"); err != nil {
			return nil, nil, fmt.Errorf("make /app: %w", err)
		}
		added = append(added, "/app")
	}
	for _, program := range []string{"bin/sh", "bin/bash"} {
		if !t.runs(program) {
			notes = append(notes, "there is no /"+program+" in it: what needs a shell can't start")
		}
	}
	return append(added, more...), notes, nil
}

// rootFD is the root, for calls that take a folder.
func (t *tree) rootFD() int { return int(t.root.Fd()) }

// runs says whether a program is there, links followed.
func (t *tree) runs(name string) bool {
	file, err := t.open(name, unix.O_PATH)
	if err != nil {
		return false
	}
	defer file.Close()
	info, err := file.Stat()
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

// make makes a folder where there is nothing; a link to one will do.
func (t *tree) make(p place) (made bool, err error) {
	if found, err := t.open(p.name, unix.O_PATH|unix.O_DIRECTORY); err == nil {
		return false, found.Close()
	} else if !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	folder, err := t.folder(p.name)
	if err != nil {
		return false, err
	}
	defer folder.Close()
	at := descriptor(folder)
	if err := unix.Chown(at, p.owner, p.owner); err != nil {
		return false, err
	}
	return true, unix.Chmod(at, p.mode)
}

// Fields of a line of /etc/passwd, and of /etc/group.
const (
	idField   = 2
	homeField = 5
)

// account makes sure of vcap in /etc/passwd and /etc/group.
func (t *tree) account() (added, notes []string, err error) {
	for _, file := range []struct{ name, line string }{
		{"etc/passwd", fmt.Sprintf("%s:x:%d:%d:%s:/%s:%s\n", vcapName, vcapID, vcapID, vcapName, vcapHome, vcapShell)},
		{"etc/group", fmt.Sprintf("%s:x:%d:\n", vcapName, vcapID)},
	} {
		text, err := t.read(file.name)
		if err != nil {
			return nil, nil, err
		}
		fields := accountOf(text, vcapName)
		if fields == nil {
			if text != "" && !strings.HasSuffix(text, "\n") {
				text += "\n"
			}
			if err := t.write(file.name, text+file.line); err != nil {
				return nil, nil, err
			}
			added = append(added, vcapName+" in /"+file.name)
			continue
		}
		if len(fields) > idField && fields[idField] != strconv.Itoa(vcapID) {
			notes = append(notes, fmt.Sprintf("%s has the number %s in /%s, and applications run as %d",
				vcapName, fields[idField], file.name, vcapID))
		}
		if len(fields) > homeField && path.Clean(fields[homeField]) != "/"+vcapHome {
			notes = append(notes, fmt.Sprintf("the home of %s is %s, and droplets are in /%s",
				vcapName, fields[homeField], vcapHome))
		}
	}
	return added, notes, nil
}

func accountOf(text, name string) []string {
	for line := range strings.Lines(text) {
		if fields := strings.Split(strings.TrimSuffix(line, "\n"), ":"); fields[0] == name {
			return fields
		}
	}
	return nil
}

// What a build leaves that is of the machine it ran on, of no use, or a secret
// that all containers would share.
var (
	builtFolders = []string{
		"debootstrap", "var/lib/apt/lists", "var/cache/apt", "var/log/apt", "tmp", "var/tmp", "run", "dev",
	}
	builtFiles = []struct{ dir, pattern string }{
		{"var/log", "*.log"}, {"var/lib/dpkg", "*-old"}, {"var/cache/debconf", "*-old"}, {"etc", "*-"},
		{"etc/ssh", "ssh_host_*"}, {"etc", "resolv.conf"}, {"etc", "hostname"}, {"root", ".wget-hsts"},
		{"var/lib/systemd", "random-seed"}, {"var/lib/dbus", "machine-id"}, {"", "debootstrap"},
	}
)

// clean takes that out of a tree that debootstrap made. The machine's id is left
// empty, which to systemd and others means that there is none yet.
func (t *tree) clean() error {
	var err error
	for _, folder := range builtFolders {
		err = errors.Join(err, t.empty(folder))
	}
	for _, files := range builtFiles {
		for _, name := range t.glob(path.Clean(files.dir), files.pattern) {
			err = errors.Join(err, t.remove(name))
		}
	}
	if err != nil {
		return fmt.Errorf("clean the tree: %w", err)
	}
	if err := t.write("etc/machine-id", ""); err != nil {
		return fmt.Errorf("empty /etc/machine-id: %w", err)
	}
	return nil
}
