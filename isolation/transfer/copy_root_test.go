package transfer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }

// account is nobody of this machine: what it may do it may as anybody.
var account = &Account{UID: 3_141_592, GID: 3_141_593}

// plant makes a tree of lines: "d 0755 path", "f 0644 path content",
// "l path target"; everything belongs to the account.
func plant(t *testing.T, root string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		var mode uint32
		word := strings.Fields(line)
		if word[0] != "l" {
			if _, err := fmt.Sscanf(word[1], "%o", &mode); err != nil {
				t.Fatal(err)
			}
			word = slices.Delete(word, 1, 2)
		}
		name := filepath.Join(root, word[1])
		var err error
		switch word[0] {
		case "d":
			if err = os.Mkdir(name, 0o700); errors.Is(err, fs.ErrExist) {
				err = nil
			}
		case "f":
			err = os.WriteFile(name, []byte(strings.Join(word[2:], " ")), 0o600)
		case "l":
			err = os.Symlink(word[2], name)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Lchown(name, int(account.UID), int(account.GID)); err != nil {
			t.Fatal(err)
		}
		if word[0] != "l" {
			if err := unix.Chmod(name, mode); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// grown lists a tree in plant's words, with who it belongs to where that is
// not as expected.
func grown(t *testing.T, root string, owner *Account) (lines []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(name string, _ fs.DirEntry, err error) error {
		if err != nil || name == root {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil {
			return err
		}
		path, _ := filepath.Rel(root, name)
		line := ""
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			line = fmt.Sprintf("d %04o %s", st.Mode&0o7777, path)
		case unix.S_IFLNK:
			target, _ := os.Readlink(name)
			line = fmt.Sprintf("l %s %s", path, target)
		default:
			content, _ := os.ReadFile(name)
			line = strings.TrimSpace(fmt.Sprintf("f %04o %s %s", st.Mode&0o7777, path, content))
		}
		if owner != nil && (st.Uid != owner.UID || st.Gid != owner.GID) {
			line += fmt.Sprintf(" of %d:%d", st.Uid, st.Gid)
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// theirs is a folder that the account reaches and owns; it stands for a
// container's root.
func theirs(t *testing.T) (string, *os.File) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chown(dir, int(account.UID), int(account.GID)); err != nil {
		t.Fatal(err)
	}
	root, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return dir, root
}

// commons is a folder of the node that everybody may reach, read and write.
func commons(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "deacon-commons-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// planted is what is copied.
const planted = `d 0755 src; f 0644 src/a one; f 4755 src/tool x; f 0400 src/secret s; l src/link /etc/shadow;
	l src/up ../../..; d 0500 src/locked; d 1777 src/sub; f 0600 src/sub/b two; d 0700 src/sub/empty;
	f 0644 single 1; l tosrc src; l tosingle single`

// arrived is what is in src, somewhere else.
const arrived = `f 0644 %[1]sa one; f 4755 %[1]stool x; f 0400 %[1]ssecret s; l %[1]slink /etc/shadow; l %[1]sup ../../..;
	d 0500 %[1]slocked; d 1777 %[1]ssub; f 0600 %[1]ssub/b two; d 0700 %[1]ssub/empty`

// lines cuts a tree in plant's lines; "* x/" stands for what arrived in x.
func lines(tree string) (all []string) {
	for line := range strings.SplitSeq(tree, ";") {
		line = strings.TrimSpace(line)
		if at, whole := strings.CutPrefix(line, "* "); whole {
			all = append(all, lines(fmt.Sprintf(arrived, at))...)
		} else if line != "" {
			all = append(all, line)
		}
	}
	return all
}

// arrivals are what rsync -r -p --links makes of each order.
var arrivals = map[string]struct {
	before   string // what is at the target
	from, to string
	want     string
	fails    error
	said     string // in the error
}{
	"a folder into a new one":         {from: "src", to: "new", want: "d 0755 new; d 0755 new/src; * new/src/"},
	"a folder into one that is there": {before: "d 0711 old", from: "src", to: "old", want: "d 0711 old; d 0755 old/src; * old/src/"},
	"what is in it into a new one":    {from: "src/", to: "new", want: "d 0755 new; * new/"},
	"what is in it, said with a dot":  {from: "src/.", to: "new/", want: "d 0755 new; * new/"},
	"into a new one, said with a dot": {from: "src", to: "new/.", want: "d 0755 new; d 0755 new/src; * new/src/"},
	"what is in it, from below":       {from: "src/sub/..", to: "new", want: "d 0755 new; * new/"},
	"a file under a new name":         {from: "single", to: "other", want: "f 0644 other 1"},
	"a file into a folder":            {before: "d 0755 old", from: "single", to: "old", want: "d 0755 old; f 0644 old/single 1"},
	"a file into a new folder":        {from: "single", to: "new/", want: "d 0755 new; f 0644 new/single 1"},
	"a file over a file":              {before: "f 0600 other before", from: "single", to: "other", want: "f 0644 other 1"},
	"a link itself":                   {from: "tosingle", to: "other", want: "l other single"},
	"a link to a folder itself":       {before: "d 0755 old", from: "tosrc", to: "old", want: "d 0755 old; l old/tosrc src"},
	"what is in where a link leads":   {from: "tosrc/", to: "new", want: "d 0755 new; * new/"},
	"into where a link leads": {before: "d 0755 old; l way old", from: "single", to: "way",
		want: "d 0755 old; f 0644 old/single 1; l way old"},
	"the folder above is missing": {from: "src", to: "no/new", fails: unix.ENOENT, said: "no/new"},
	"the folder above a file's":   {from: "single", to: "no/new", fails: unix.ENOENT, said: "no/new"},
	"the source is missing":       {from: "none", to: "new", fails: unix.ENOENT, said: "none"},
	"what is in a file":           {from: "single/", to: "new", fails: unix.ENOTDIR, said: "single"},
	"a folder's content onto a file": {before: "f 0600 other x", from: "src/", to: "other",
		want: "f 0600 other x", fails: unix.ENOTDIR, said: "other"},
	"a file over a link": {before: "f 0600 kept k; l other kept", from: "single", to: "other",
		want: "f 0600 kept k; f 0644 other 1"},
	"over files that can't be written": {before: "d 0755 old; f 0000 old/a x", from: "src/", to: "old", want: "d 0755 old; * old/"},
	"what is in it into one there": {before: "d 0711 old; f 0600 old/keep k", from: "src/", to: "old",
		want: "d 0755 old; f 0600 old/keep k; * old/"},
	"a file over an empty folder": {before: "d 0755 old; d 0755 old/single", from: "single", to: "old",
		want: "d 0755 old; f 0644 old/single 1"},
	"a file over a full folder": {before: "d 0755 old; d 0755 old/single; f 0600 old/single/x x", from: "single", to: "old",
		want: "d 0755 old; d 0755 old/single; f 0600 old/single/x x", fails: unix.ENOTEMPTY, said: "old/single"},
	"a folder over a file": {before: "d 0755 old; f 0600 old/src f", from: "src", to: "old",
		want: "d 0755 old; d 0755 old/src; * old/src/"},
	"a folder over a link to a folder": {before: "d 0755 else; d 0755 old; l old/src ../else", from: "src", to: "old",
		want: "d 0755 else; d 0755 old; d 0755 old/src; * old/src/"},
	"into a folder without permissions": {before: "d 0755 old; d 0000 old/src", from: "src", to: "old",
		want: "d 0755 old; d 0755 old/src; * old/src/"},
}

// What rsync -r -p --links makes of these, both ways.
func TestATreeArrivesAsRsyncWouldLeaveIt(t *testing.T) {
	for name, c := range arrivals {
		for _, way := range []string{"in", "out"} {
			t.Run(way+": "+name, func(t *testing.T) {
				inside, root := theirs(t)
				node := t.TempDir()
				from, to := Side{Path: node + "/" + c.from}, Side{Root: root, As: account, Path: "/" + c.to}
				start, finish, owner, want := node, inside, account, lines(c.want)
				if way == "out" {
					start, finish, owner = inside, node, &Account{}
					from, to = Side{Root: root, As: account, Path: "/" + c.from}, Side{Path: node + "/" + c.to}
					for i := range want { // set-user-id is not for the node
						want[i] = strings.Replace(want[i], "f 4755", "f 0755", 1)
					}
				}
				plant(t, start, lines(planted)...)
				plant(t, finish, lines(c.before)...)
				if c.before != "" {
					owner = nil // what was there keeps its owner
				}

				err := Copy(t.Context(), from, to)

				if !errors.Is(err, c.fails) || err != nil && !strings.Contains(err.Error(), c.said) {
					t.Errorf("error is %v, want %v", err, c.fails)
				}
				got := grown(t, finish, owner)
				slices.SortFunc(got, byPath)
				slices.SortFunc(want, byPath)
				if !slices.Equal(got, want) {
					t.Errorf("there is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			})
		}
	}
}

func byPath(a, b string) int {
	path := func(line string) string {
		word := strings.Fields(line)
		if word[0] == "l" {
			return word[1]
		}
		return word[2]
	}
	return strings.Compare(path(a), path(b))
}

func TestPipesAndDevicesAreLeftOut(t *testing.T) {
	inside, root := theirs(t)
	node := t.TempDir()
	plant(t, inside, "d 0755 src", "f 0644 src/a one")
	if err := unix.Mkfifo(inside+"/src/pipe", 0o666); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mknod(inside+"/src/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
		t.Fatal(err)
	}
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(socket)
	if err := unix.Bind(socket, &unix.SockaddrUnix{Name: inside + "/src/socket"}); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(inside+"/src/a", inside+"/src/again"); err != nil {
		t.Fatal(err)
	}
	if err := Copy(t.Context(), Side{Root: root, As: account, Path: "/src"}, Side{Path: node}); err != nil {
		t.Fatal(err)
	}
	want := []string{"d 0755 src", "f 0644 src/a one", "f 0644 src/again one"}
	if got := grown(t, node, &Account{}); !slices.Equal(got, want) {
		t.Errorf("there is %q", got)
	}
	var st unix.Stat_t
	if err := unix.Stat(node+"/src/again", &st); err != nil || st.Nlink != 1 {
		t.Errorf("a hard link has %d names, %v", st.Nlink, err)
	}
}

// What may not be read is said and holds up nothing else.
func TestTheRestIsCopied(t *testing.T) {
	inside, root := theirs(t)
	node := t.TempDir()
	plant(t, inside, "d 0755 src")
	for i := range 9 {
		plant(t, inside, fmt.Sprintf("f 0000 src/no%d x", i))
	}
	plant(t, inside, "f 0644 src/z yes", "d 0000 src/deep")
	err := Copy(t.Context(), Side{Root: root, As: account, Path: "/src/"}, Side{Path: node})
	if !errors.Is(err, unix.EACCES) || !strings.Contains(err.Error(), "/src/no") || !strings.Contains(err.Error(), "and 5 more") {
		t.Errorf("error is %v", err)
	}
	if got := grown(t, node, nil); !slices.Equal(got, []string{"f 0644 z yes"}) {
		t.Errorf("there is %q", got)
	}
}

func TestTheAccountIsTheKernelsJudge(t *testing.T) {
	inside, root := theirs(t)
	node := t.TempDir()
	plant(t, node, "d 0755 src", "f 0644 src/a one", "d 0755 src/sub", "f 0644 src/sub/b two")
	if err := os.Mkdir(inside+"/etc", 0o755); err != nil { // of root
		t.Fatal(err)
	}
	if err := os.WriteFile(inside+"/shadow", []byte("root's"), 0o600); err != nil {
		t.Fatal(err)
	}
	// The thread's group could be one of the process's own.
	if err := os.WriteFile(inside+"/group", []byte("root's"), 0o640); err != nil {
		t.Fatal(err)
	}
	err := Copy(t.Context(), Side{Path: node + "/src/"}, Side{Root: root, As: account, Path: "/etc"})
	if !errors.Is(err, unix.EACCES) || !strings.Contains(err.Error(), "/etc/a") {
		t.Errorf("into /etc: error is %v", err)
	}
	if got := grown(t, inside+"/etc", nil); len(got) > 0 {
		t.Errorf("/etc has %q", got)
	}
	for _, name := range []string{"/shadow", "/group"} {
		err = Copy(t.Context(), Side{Root: root, As: account, Path: name}, Side{Path: node})
		if !errors.Is(err, unix.EACCES) || !strings.Contains(err.Error(), name) {
			t.Errorf("out of %s: error is %v", name, err)
		}
	}
}

// A link of the container that leads out ends inside.
func TestALinkNeverLeavesTheRoot(t *testing.T) {
	inside, root := theirs(t)
	outside := commons(t)
	plant(t, outside, "f 0666 victim v")
	node := t.TempDir()
	plant(t, node, "d 0755 src", "f 0644 src/victim mine", "d 0755 src/way", "f 0644 src/way/victim mine")
	climb := strings.Repeat("../", 20) + outside[1:]
	plant(t, inside, "l abs "+outside, "l rel "+climb, "d 0755 in", "l in/way "+outside, "l in/victim "+outside+"/victim",
		"l magic /proc/self/root"+outside)
	for _, target := range []string{"/abs", "/rel", "/abs/", "/rel/deeper", "/" + climb, "/magic/"} {
		err := Copy(t.Context(), Side{Path: node + "/src/"}, Side{Root: root, As: account, Path: target})
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EEXIST) {
			t.Errorf("into %s: error is %v", target, err)
		}
		err = Copy(t.Context(), Side{Root: root, As: account, Path: target + "/victim"}, Side{Path: node + "/got"})
		if !errors.Is(err, unix.ENOENT) {
			t.Errorf("out of %s: error is %v", target, err)
		}
	}
	// Into a folder that has such links: they are replaced, not followed.
	if err := Copy(t.Context(), Side{Path: node + "/src/"}, Side{Root: root, As: account, Path: "/in"}); err != nil {
		t.Error(err)
	}
	if got := grown(t, outside, nil); !slices.Equal(got, []string{"f 0666 victim v"}) {
		t.Errorf("outside is %q", got)
	}
}

// For as long as two copies a turn take, the container swaps a folder and a
// link that leads out for one another.
func TestASwapMeanwhileNeverLeavesTheRoot(t *testing.T) {
	inside, root := theirs(t)
	outside, node := commons(t), t.TempDir()
	plant(t, outside, "f 0666 victim secret")
	plant(t, node, "d 0755 src", "d 0755 src/d", "f 0644 src/d/victim mine")
	plant(t, inside, "d 0755 x", "d 0755 x/d", "f 0644 x/d/victim mine", "l x/l "+outside)
	ctx, stop := context.WithCancel(t.Context())
	swapped := make(chan int)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			unix.Renameat2(unix.AT_FDCWD, inside+"/x/d", unix.AT_FDCWD, inside+"/x/l", unix.RENAME_EXCHANGE)
		}
		swapped <- n
	}()
	for range 300 {
		// They may well fail, where something is another thing by then.
		Copy(ctx, Side{Path: node + "/src/"}, Side{Root: root, As: account, Path: "/x"})
		Copy(ctx, Side{Root: root, As: account, Path: "/x/d/victim"}, Side{Path: node + "/got"})
		Copy(ctx, Side{Root: root, As: account, Path: "/x/"}, Side{Path: node + "/all"})
		if content, err := os.ReadFile(node + "/got"); err == nil && string(content) != "mine" {
			t.Fatalf("copied out %q", content)
		}
	}
	stop()
	if n := <-swapped; n < 300 {
		t.Errorf("only %d swaps", n)
	}
	if got := grown(t, outside, nil); !slices.Equal(got, []string{"f 0666 victim secret"}) {
		t.Errorf("outside is %q", got)
	}
	for _, line := range grown(t, node, nil) {
		if strings.Contains(line, "secret") {
			t.Errorf("copied out %q", line)
		}
	}
}
