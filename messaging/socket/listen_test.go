package socket

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/testsuite/logbook"
)

// refused opens a door that must not open.
func refused(t *testing.T, c Config, reasons ...string) {
	t.Helper()
	c.Log = logbook.New().Logger()
	door, err := Open(c, func(messaging.Command) {})
	if err == nil {
		door.Close()
		t.Fatalf("opened %+v", c)
	}
	for _, reason := range reasons {
		if !strings.Contains(err.Error(), reason) {
			t.Errorf("%q doesn't say %q", err, reason)
		}
	}
}

func TestTheSocketOfADeadServerIsReplaced(t *testing.T) {
	path := socketPath(t)
	for _, kind := range []string{"unix", "unixgram"} {
		deadSocket(t, kind, path)
		n := open(t, Config{Path: path})
		n.dial(t)
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// deadSocket leaves a socket's file as a server does that was killed.
func deadSocket(t *testing.T, kind, path string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, map[string]int{"unix": unix.SOCK_STREAM, "unixgram": unix.SOCK_DGRAM}[kind], 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Close(fd)); err != nil {
		t.Fatal(err)
	}
}

func TestASecondServerIsRefusedAndTheFirstNeverHearsOfIt(t *testing.T) {
	n := open(t, Config{})
	for range 3 {
		refused(t, Config{Path: n.path}, n.path, "another server listens on it")
	}
	c := n.dial(t) // the first client that the node hears of
	c.send(ping())
	c.pong()
}

func TestAServerOfAnyKindIsNotReplaced(t *testing.T) {
	path := socketPath(t)
	for _, kind := range []string{"unixgram", "unixpacket"} {
		var closer interface{ Close() error }
		var err error
		if kind == "unixgram" {
			closer, err = net.ListenUnixgram(kind, &net.UnixAddr{Name: path, Net: kind})
		} else {
			closer, err = net.ListenUnix(kind, &net.UnixAddr{Name: path, Net: kind})
		}
		if err != nil {
			t.Fatal(err)
		}
		refused(t, Config{Path: path}, path, "another server listens on it")
		closer.Close()
		os.Remove(path)
	}
}

// Of many that start at once over a dead one's socket exactly one opens, and
// it is the one that clients reach.
func TestOfManyServersAtOnceOneOpens(t *testing.T) {
	for range 20 {
		path := socketPath(t)
		deadSocket(t, "unix", path)
		var mu sync.Mutex
		var doors []*Door
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				door, err := Open(Config{Path: path, Log: logbook.New().Logger()}, func(messaging.Command) {})
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					doors = append(doors, door)
				} else if !strings.Contains(err.Error(), "another server listens on it") {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if len(doors) != 1 {
			t.Errorf("%d doors are open", len(doors))
		}
		c := dial(t, path)
		c.send(ping())
		c.pong()
		for _, door := range doors {
			door.Close()
		}
	}
}

func TestWhatIsNotASocketIsLeftAlone(t *testing.T) {
	path := socketPath(t)
	for name, put := range map[string]func() error{
		"a file":        func() error { return os.WriteFile(path, []byte("precious"), 0o600) },
		"a folder":      func() error { return os.Mkdir(path, 0o700) },
		"a broken link": func() error { return os.Symlink("nowhere", path) },
		"a pipe":        func() error { return syscall.Mkfifo(path, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			if err := put(); err != nil {
				t.Fatal(err)
			}
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			refused(t, Config{Path: path}, path, "isn't a socket")
			after, err := os.Lstat(path)
			if err != nil || !os.SameFile(before, after) || before.Size() != after.Size() {
				t.Errorf("it was touched: %v", err)
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestAMistakeInTheConfigurationIsNamed(t *testing.T) {
	path := socketPath(t)
	folder := filepath.Dir(path)
	long := filepath.Join(folder, strings.Repeat("x", pathMax-len(folder)))
	for name, c := range map[string]struct {
		config  Config
		reasons []string
	}{
		"no path":          {Config{}, []string{"no path"}},
		"a long path":      {Config{Path: long}, []string{long, "has 108 bytes, the kernel takes 107"}},
		"no folder":        {Config{Path: filepath.Join(folder, "none", "s")}, []string{"none", "no such file"}},
		"no such group":    {Config{Path: path, Group: "deacon-none"}, []string{path, "unknown group deacon-none"}},
		"an impossible id": {Config{Path: path, Group: "4294967295"}, []string{path, "4294967295"}},
		"a strange mode":   {Config{Path: path, Mode: fs.ModeSetuid | 0o777}, []string{path, "permissions"}},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, c.config, c.reasons...)
			if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
				t.Errorf("it left %v: %v", left, err)
			}
		})
	}
	n := open(t, Config{Path: long[:pathMax]})
	n.dial(t)
}

func TestTheSocketHasItsModeAndGroup(t *testing.T) {
	old := syscall.Umask(0o077) // which must not matter
	defer syscall.Umask(old)
	groups := []string{"", fmt.Sprint(os.Getegid())}
	if g, err := user.LookupGroupId(groups[1]); err == nil {
		groups = append(groups, g.Name)
	}
	mine, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	for _, gid := range mine {
		groups = append(groups, fmt.Sprint(gid))
	}
	if os.Geteuid() == 0 {
		groups = append(groups, "4242")
	}
	for _, mode := range []fs.FileMode{0, 0o777, 0o600, 0o770} {
		for _, group := range groups {
			n := open(t, Config{Mode: mode, Group: group})
			want := mode
			if mode == 0 {
				want = 0o755
			}
			info, err := os.Lstat(n.path)
			if err != nil {
				t.Fatal(err)
			}
			if got := info.Mode(); got != want|fs.ModeSocket {
				t.Errorf("mode %v, want %v", got, want)
			}
			if got := info.Sys().(*syscall.Stat_t).Gid; group != "" && fmt.Sprint(got) != group && !named(group, got) {
				t.Errorf("group %d, want %s", got, group)
			}
		}
	}
}

func named(group string, gid uint32) bool {
	g, err := user.LookupGroup(group)
	return err == nil && g.Gid == fmt.Sprint(gid)
}

// Between bind and listen a socket gets its mode. That is safe because the
// kernel lets nobody in then, and a server that starts takes it for a living
// one's.
func TestASocketThatIsBoundLetsNobodyInAndIsNotDead(t *testing.T) {
	path := socketPath(t)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	socket := os.NewFile(uintptr(fd), path)
	defer socket.Close()
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("unix", path); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("a socket that is bound and not listened on: %v", err)
	}
	refused(t, Config{Path: path}, "another server listens on it")
}

func TestAFolderThatIsLockedForLongIsNamed(t *testing.T) {
	path := socketPath(t)
	f, err := os.Open(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	refused(t, Config{Path: path}, filepath.Dir(path), "another process has held it")
}
