package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// homes is a container's root with a home in it, and a folder of the node's
// with a secret.
func homes(t *testing.T) (inside string, root *os.File, outside string) {
	t.Helper()
	inside, root = theirs(t)
	outside = commons(t)
	plant(t, outside, "f 0666 victim secret")
	plant(t, inside, "d 0755 home", "d 0755 home/vcap", "d 0755 home/vcap/logs", "f 0644 home/vcap/logs/out said",
		"d 0755 home/vcapricious", "f 0644 home/vcapricious/f other", "d 0755 etc", "f 0644 etc/passwd accounts",
		"f 0600 home/vcap/own mine")
	return inside, root, outside
}

// look is what opening a path gives: the content of a file, the names of a
// folder, or the kernel's reason.
func look(side Side, open func(Side) (*os.File, error)) string {
	file, err := open(side)
	if errno, is := errors.AsType[unix.Errno](err); is {
		return unix.ErrnoName(errno)
	}
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	if st, err := status(file); err != nil || st.Mode&unix.S_IFMT == unix.S_IFDIR {
		names, _ := file.Readdirnames(-1)
		slices.Sort(names)
		return strings.Join(names, " ")
	}
	content, err := io.ReadAll(file)
	if err != nil {
		return err.Error()
	}
	return string(content)
}

func openHome(side Side) (*os.File, error) { return Open(side, "/home/vcap") }

// Whatever a path says, what is opened is the container's, and in its home.
func TestAPathEndsInTheHomeOrNowhere(t *testing.T) {
	inside, root, outside := homes(t)
	climb := strings.Repeat("../", 20) + outside[1:]
	plant(t, inside,
		"l home/vcap/within logs/out", "l home/vcap/absolute /home/vcap/logs/out", "l home/vcap/around ../../home/vcap/logs/out",
		"l home/vcap/folder /home/vcap/logs", "l home/vcap/passwd /etc/passwd", "l home/vcap/up ../..",
		"l home/vcap/node "+outside+"/victim", "l home/vcap/climbs "+climb+"/victim", "l home/vcap/magic /proc/self/root"+outside+"/victim",
		"l home/vcap/loop loop", "l home/vcap/beside ../vcapricious/f")
	for path, want := range map[string]string{
		"":                        "absolute around beside climbs folder logs loop magic node own passwd up within",
		"/":                       "absolute around beside climbs folder logs loop magic node own passwd up within",
		"/.":                      "absolute around beside climbs folder logs loop magic node own passwd up within",
		"logs":                    "out",
		"/logs/":                  "out",
		"logs/out":                "said",
		"//logs//.//out":          "said",
		"logs/../own":             "mine",
		"../vcap/own":             "mine",
		"within":                  "said",
		"absolute":                "said",
		"around":                  "said",
		"folder/out":              "said",
		"..":                      "EACCES",
		"../..":                   "EACCES",
		"../../../../../../":      "EACCES",
		"../../etc/passwd":        "EACCES",
		"../vcapricious/f":        "EACCES",
		"beside":                  "EACCES",
		"passwd":                  "EACCES",
		"up":                      "EACCES",
		"up/etc/passwd":           "EACCES",
		"node":                    "ENOENT",
		"climbs":                  "ENOENT",
		"magic":                   "ENOENT",
		climb + "/victim":         "ENOENT",
		outside + "/victim":       "ENOENT",
		"loop":                    "ELOOP",
		"nothing":                 "ENOENT",
		"own/":                    "ENOTDIR",
		"own/deeper":              "ENOTDIR",
		"a\x00b":                  "EINVAL",
		strings.Repeat("a", 256):  "ENAMETOOLONG",
		strings.Repeat("a/", 3e3): "ENAMETOOLONG",
	} {
		if got := look(Side{Root: root, As: account, Path: path}, openHome); got != want {
			t.Errorf("%.60q gives %q, want %q", path, got, want)
		}
	}
}

// The kernel is asked as the account, not as who asks.
func TestWhatTheAccountMayNotReadIsNotOpened(t *testing.T) {
	inside, root, _ := homes(t)
	for name, mode := range map[string]os.FileMode{"private": 0o600, "public": 0o644} {
		name = inside + "/home/vcap/" + name
		if err := errors.Join(os.WriteFile(name, []byte("root's"), mode), os.Chown(name, 0, 0)); err != nil {
			t.Fatal(err)
		}
	}
	plant(t, inside, "d 0000 home/vcap/shut")
	for path, want := range map[string]string{"private": "EACCES", "public": "root's", "shut": "EACCES", "shut/x": "EACCES"} {
		if got := look(Side{Root: root, As: account, Path: path}, openHome); got != want {
			t.Errorf("%s gives %q, want %q", path, got, want)
		}
	}
	if got := look(Side{Root: root, Path: "private"}, openHome); got != "root's" {
		t.Errorf("root gets %q: the test shows nothing", got)
	}
}

// A pipe that nobody writes to would hold up who opens it, and opening a device
// is an act: none of them is.
func TestPipesSocketsAndDevicesAreNeverOpened(t *testing.T) {
	inside, root, _ := homes(t)
	home := inside + "/home/vcap/"
	listener, err := net.Listen("unix", home+"socket")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	err = errors.Join(unix.Mkfifo(home+"pipe", 0o666), unix.Mknod(home+"null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))),
		unix.Mknod(home+"tty", unix.S_IFCHR|0o666, int(unix.Mkdev(5, 0))), unix.Mknod(home+"disk", unix.S_IFBLK|0o666, int(unix.Mkdev(7, 0))))
	for _, name := range []string{"pipe", "null", "tty", "disk", "socket"} {
		err = errors.Join(err, os.Chmod(home+name, 0o666))
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pipe", "null", "tty", "disk", "socket"} {
		got := make(chan string, 1)
		go func() { got <- look(Side{Root: root, As: account, Path: name}, openHome) }()
		select {
		case got := <-got:
			if got != "EACCES" {
				t.Errorf("%s gives %q", name, got)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%s holds up who opens it", name)
		}
	}
}

// While paths are opened the container swaps a folder for a link that leads out,
// and moves another out of its home and back.
func TestASwapMeanwhileOpensNothingElsewhere(t *testing.T) {
	inside, root, outside := homes(t)
	home := inside + "/home/vcap/"
	plant(t, inside, "d 0755 home/vcap/d", "f 0644 home/vcap/d/victim mine", "l home/vcap/l "+outside,
		"d 0755 home/vcap/m", "d 0755 home/vcap/m/deep", "l home/vcap/m/deep/two ../../d", "d 0755 elsewhere",
		"f 0644 elsewhere/victim mine", "d 0755 home/vcap/stays")
	ctx, stop := context.WithCancel(t.Context())
	swapped := make(chan int)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			unix.Renameat2(unix.AT_FDCWD, home+"d", unix.AT_FDCWD, home+"l", unix.RENAME_EXCHANGE)
			os.Rename(home+"m", inside+"/elsewhere/m")
			os.Rename(inside+"/elsewhere/m", home+"m")
		}
		swapped <- n
	}()
	opened := map[string]int{}
	for range 3000 {
		for _, path := range []string{"d/victim", "m/deep/../../victim", "m/deep/two/victim", "m/../../../victim"} {
			got := look(Side{Root: root, As: account, Path: path}, openHome)
			opened[got]++
			if got == "secret" {
				t.Fatalf("%s leads out", path)
			}
		}
	}
	stop()
	if n := <-swapped; n < 300 || opened["mine"] == 0 || opened["ENOENT"] == 0 {
		t.Errorf("%d swaps, and opened were %v: the test shows nothing", n, opened)
	}
}

// A hard link is to a file of its own file system that its maker owns, or may
// read and write (fs.protected_hardlinks): there is no way out of the container
// in it, and what it names is served like any other of its names.
func TestAHardLinkIsAnotherNameOfTheContainersOwn(t *testing.T) {
	_, root, outside := homes(t)
	link := func(from, to string) error {
		return account.do(func() error { return unix.Linkat(int(root.Fd()), from, int(root.Fd()), to, 0) })
	}
	home := "home/vcap/"
	if err := link(home+"own", home+"again"); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(outside+"/victim", 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(outside+"/victim", 0, 0); err != nil {
		t.Fatal(err)
	}
	if err := link(outside+"/victim", home+"theft"); err == nil {
		t.Error("a file of root's got another name")
	}
	if err := link("/proc/version", home+"proc"); !errors.Is(err, unix.EXDEV) {
		t.Errorf("a link into another file system: %v", err)
	}
	for path, want := range map[string]string{"again": "mine", "theft": "ENOENT", "proc": "ENOENT"} {
		if got := look(Side{Root: root, As: account, Path: path}, openHome); got != want {
			t.Errorf("%s gives %q, want %q", path, got, want)
		}
	}
}

// What is kept of a container is the node's by then, and its links lead nowhere.
func TestWhatIsKeptHasNoWayOut(t *testing.T) {
	inside, root, outside := homes(t)
	climb := strings.Repeat("../", 20) + outside[1:]
	plant(t, inside, "l absolute /etc/passwd", "l climbs "+climb+"/victim", "l back ../"+inside[strings.LastIndexByte(inside, '/')+1:]+
		"/etc/passwd", "l near etc/passwd", "l magic /proc/self/root")
	if err := unix.Mkfifo(inside+"/pipe", 0o666); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"": "absolute back climbs etc home magic near pipe", "/etc": "passwd", "etc/passwd": "accounts", "near": "accounts",
		"..": "EACCES", "../": "EACCES", "etc/../..": "EACCES", "absolute": "EACCES", "climbs": "EACCES", "back": "EACCES",
		"magic": "EACCES", "pipe": "EACCES", "nothing": "ENOENT", "etc/passwd/x": "ENOTDIR",
	} {
		if got := look(Side{Root: root, Path: path}, OpenKept); got != want {
			t.Errorf("%q gives %q, want %q", path, got, want)
		}
	}
}

// A descriptor that Open gives is the caller's, and there is none beside it.
func TestOpeningLeavesNothingOpen(t *testing.T) {
	_, root, _ := homes(t)
	before := descriptors(t)
	for _, path := range []string{"own", "logs", "nothing", "../..", "/"} {
		for range 20 {
			look(Side{Root: root, As: account, Path: path}, openHome)
			look(Side{Root: root, Path: path}, OpenKept)
		}
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors, and %d before", after, before)
	}
}

func TestACopyStaysWithinItsBounds(t *testing.T) {
	inside, root := theirs(t)
	plant(t, inside, "d 0755 many", "d 0755 long", "f 0644 long/one 0123456789", "f 0644 long/two 0123456789", "f 0644 long/three 0123456789")
	for i := range 50 {
		plant(t, inside, fmt.Sprintf("f 0644 many/%d x", i))
	}
	copied := func(path string, most Bounds) ([]string, error) {
		node := t.TempDir()
		err := Copy(t.Context(), Side{Root: root, As: account, Path: path, Most: &most}, Side{Path: node + "/got"})
		return grown(t, node, nil), err
	}
	if got, err := copied("/many", Bounds{Bytes: 1 << 20, Entries: 10}); len(got) != 11 || !errors.Is(err, errMany) {
		t.Errorf("of 51 entries and the folder's own %d came: %v", len(got), err)
	}
	if got, err := copied("/many", Bounds{Bytes: 1 << 20, Entries: 51}); len(got) != 52 || err != nil {
		t.Errorf("of 51 entries %d came: %v", len(got), err)
	}
	got, err := copied("/long", Bounds{Bytes: 14, Entries: 10})
	var whole, ends, bytes int
	for _, line := range got {
		content := line[strings.LastIndexByte(line, ' ')+1:]
		switch {
		case strings.HasPrefix(line, "d"):
		case content == "0123456789":
			whole, bytes = whole+1, bytes+10
		case content == "6789":
			ends, bytes = ends+1, bytes+4
		}
	}
	if whole != 1 || ends != 1 || bytes != 14 || !errors.Is(err, errLong) {
		t.Errorf("of three files within 14 bytes came %q: %v", got, err)
	}
	if _, err := copied("/nothing", Bounds{Bytes: 1, Entries: 1}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing at all: %v", err)
	}
}
