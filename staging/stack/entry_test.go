package stack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/staging"
)

func TestAHostileArchiveIsRefusedByTheNameOfTheEntryAndLeavesNothing(t *testing.T) {
	device := func(name string, kind byte) entry { return entry{Header: tar.Header{Name: name, Typeflag: kind}} }
	for want, entries := range map[string][]entry{
		`entry "../evil" climbs`:                         {file("../evil", "")},
		`entry "a/../../evil" climbs`:                    {file("a/../../evil", "")},
		`entry "/etc/evil" has an absolute name`:         {file("/etc/evil", "")},
		`entry "a/b" passes through "a"`:                 {file("a", ""), file("a/b", "")},
		`entry "loop/b" passes through "loop"`:           {symlink("loop", "loop"), file("loop/b", "")},
		`entry "gone/b" passes through "gone"`:           {symlink("gone", "nowhere"), file("gone/b", "")},
		`is a hard link to "../../etc/passwd"`:           {hard("a", "../../etc/passwd")},
		`is a hard link to "/etc/passwd"`:                {hard("a", "/etc/passwd")},
		`is a hard link to "later"`:                      {hard("a", "later"), file("later", "")},
		`is a hard link to "folder"`:                     {dir("folder"), hard("a", "folder")},
		`entry "sda" is a device`:                        {device("sda", tar.TypeBlock)},
		`entry "etc/hidden" is a device`:                 {device("etc/hidden", tar.TypeChar)}, // 0,0: an overlay's whiteout
		`entry "." is not a folder, but the root`:        {file(".", "")},
		`entry "empty" is a symbolic link to nothing`:    {symlink("empty", strings.Repeat("x", 4096))},
		`entry "odd" is of the unknown type`:             {device("odd", 'Z')},
		`the archive is empty`:                           {},
		`entry "` + strings.Repeat("n", 256) + `" has a`: {file(strings.Repeat("n", 256), "")},
	} {
		t.Run(want, func(t *testing.T) {
			s := newStage(t)
			_, err := s.imports("bad", archiveOf(t, entries...))
			expect(t, err, want)
			s.nothingLeft()
		})
	}
}

func TestALinkNeverLeadsOutOfTheTree(t *testing.T) {
	s := newStage(t)
	outside := t.TempDir()
	up := strings.Repeat("../", 40) + outside
	s.must("links", symlink("absolute", outside), symlink("climbing", up), dir(strings.TrimPrefix(outside, "/")),
		file("absolute/one", "1"), file("climbing/two", "2"), symlink("etc", outside), symlink("root", "/"),
		hard("three", strings.TrimPrefix(outside, "/")+"/one"), file("root/four", "4"))
	if found, _ := os.ReadDir(outside); len(found) > 0 {
		t.Errorf("outside there is now %v", found)
	}
	s.has("links", outside+"/one", "1")
	s.has("links", outside+"/two", "2")
	s.has("links", "three", "1")
	s.has("links", "four", "4")
	// The account was completed where the tree's own link leads.
	passwd, err := os.ReadFile(filepath.Join(s.Tree("links"), outside, "passwd"))
	if err != nil || !strings.Contains(string(passwd), "vcap:x:2000:2000") {
		t.Errorf("passwd has %q, %v", passwd, err)
	}
}

func TestALinkOfAMergedUsrIsFollowedInside(t *testing.T) {
	s := newStage(t)
	s.must("merged", dir("usr/bin"), symlink("bin", "usr/bin"), symlink("sbin", "/usr/sbin"), dir("usr/sbin"),
		file("bin/sh", "sh"), file("sbin/init", "init"), dir("bin/"))
	s.has("merged", "usr/sbin/init", "init")
	if st := s.stat("merged", "bin"); st.Mode&unix.S_IFMT != unix.S_IFDIR {
		t.Error("a folder that is listed over a link must replace it, as a layer's does")
	}
	if got := s.stat("merged", "usr/bin/sh"); got.Size != 2 {
		t.Errorf("usr/bin/sh has %d bytes", got.Size)
	}
}

func TestTheLastOfSeveralEntriesOfANameCounts(t *testing.T) {
	s := newStage(t)
	s.must("twice", file("a", "old"), hard("b", "a"), file("a", "new"), dir("d"), file("d/x", ""), file("d", "file"),
		file("e", ""), dir("e"), file("e/y", ""), dir("keep"), file("keep/z", "z"), dir("keep"), hard("b", "b"))
	s.has("twice", "a", "new")
	s.has("twice", "b", "old")
	if got, want := s.below("twice"), []string{"a", "b", "d", "e/", "e/y", "keep/", "keep/z"}; !slices.Equal(got, want) {
		t.Errorf("the tree has %q, want %q", got, want)
	}
}

// capability is cap_net_raw+ep, as the kernel keeps it.
const capability = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

func TestOwnersModesAndCapabilitiesAreKept(t *testing.T) {
	s := newStage(t)
	program := file("bin/ping", "x")
	program.Uid, program.Gid, program.Mode = 7, 8, 0o4755
	program.PAXRecords = map[string]string{
		xattrPrefix + "security.capability": capability, xattrPrefix + "user.note": "n",
		xattrPrefix + "trusted.overlay.opaque": "y", xattrPrefix + "user.overlay.whiteout": "y",
	}
	far := file("far", "")
	far.Uid, far.Gid = 1<<20, -1
	fifo := entry{Header: tar.Header{Name: "fifo", Typeflag: tar.TypeFifo, Mode: 0o600}}
	null := entry{Header: tar.Header{Name: "dev/null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}}
	m := s.must("owned", program, far, fifo, null)
	if st := s.stat("owned", "bin/ping"); st.Uid != 7 || st.Gid != 8 || st.Mode&0o7777 != 0o4755 {
		t.Errorf("ping is %d:%d %o", st.Uid, st.Gid, st.Mode)
	}
	attributes, err := attributesOf(filepath.Join(s.Tree("owned"), "bin/ping"), s.stat("owned", "bin/ping"))
	if err != nil || strings.Contains(attributes, "overlay") || !strings.Contains(attributes, "security.capability") ||
		!strings.Contains(attributes, "user.note") {
		t.Errorf("its attributes are %s, %v", attributes, err)
	}
	if st := s.stat("owned", "far"); st.Uid != nobody || st.Gid != nobody {
		t.Errorf("far is %d:%d", st.Uid, st.Gid)
	}
	if st := s.stat("owned", "fifo"); st.Mode&unix.S_IFMT != unix.S_IFIFO {
		t.Errorf("fifo is %o", st.Mode)
	}
	if _, err := os.Lstat(s.Tree("owned") + "/dev/null"); err == nil {
		t.Error("/dev/null is there")
	}
	notes := strings.Join(m.Notes, "\n")
	for _, want := range []string{"1 devices", "2 attributes", "2 owners above 65535"} {
		if !strings.Contains(notes, want) {
			t.Errorf("the notes %q don't tell of %q", notes, want)
		}
	}
}

func TestZerosBecomeAHoleAndCountAgainstTheLimit(t *testing.T) {
	s := newStage(t)
	const size = 8 << 20
	s.must("holes", file("sparse", "begin"+strings.Repeat("\x00", size)+"end"))
	if st := s.stat("holes", "sparse"); st.Size != size+8 || st.Blocks*512 > size/4 {
		t.Errorf("sparse has %d bytes in %d blocks", st.Size, st.Blocks)
	}
	tree, err := openTree(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer tree.close()
	for _, limit := range []struct{ entries, bytes int64 }{{1, 1 << 20}, {10, 10}} {
		w := newWriter(tree)
		w.entriesMax, w.bytesMax = limit.entries, limit.bytes
		err := w.untarPlain(bytes.NewReader(archiveOf(t, file("a", "123456"), file("b", "123456"))))
		if _, is := errors.AsType[*staging.LimitError](err); !is {
			t.Errorf("with %+v the error is %v", limit, err)
		}
	}
}

func TestAnArchiveThatIsCutOffIsRefusedWhereverItIs(t *testing.T) {
	whole := archiveOf(t, file("a", strings.Repeat("a", 700)), file("b", "b"))
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	w.Write(whole)
	w.Close()
	s := newStage(t)
	for at := 512; at < len(whole)-512; at += 512 {
		if _, err := s.imports("cut", whole[:at]); err == nil {
			t.Fatalf("cut off at %d it was taken", at)
		}
	}
	for _, short := range []int{1, 8, 40} {
		if _, err := s.imports("cut", zipped.Bytes()[:zipped.Len()-short]); err == nil {
			t.Fatalf("cut off %d bytes before the end of gzip it was taken", short)
		}
	}
	s.nothingLeft()
	if _, err := s.imports("noise", bytes.Repeat([]byte("not an archive. "), 100)); err == nil {
		t.Error("noise was taken")
	} else {
		expect(t, err, "not a tar")
	}
	if _, err := s.imports("whole", zipped.Bytes()); err != nil {
		t.Error(err)
	}
}

func TestAFolderIsCopiedAsItIs(t *testing.T) {
	s := newStage(t)
	from := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	at := func(name string) string { return filepath.Join(from, name) }
	must(os.MkdirAll(at("bin"), 0o755))
	must(os.WriteFile(at("bin/sh"), []byte("sh"), 0o755))
	must(os.Link(at("bin/sh"), at("bin/bash")))
	must(os.Chown(at("bin/sh"), 5, 6))
	must(unix.Lsetxattr(at("bin/sh"), "security.capability", []byte(capability), 0))
	must(os.Symlink("/etc/shadow", at("link")))
	must(os.Mkdir(at("dev"), 0o755))
	must(unix.Mknod(at("dev/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	must(os.Mkdir(at("mnt"), 0o755))
	must(unix.Mount("deacon-test", at("mnt"), "tmpfs", 0, ""))
	defer unix.Unmount(at("mnt"), unix.MNT_DETACH)
	must(os.WriteFile(at("mnt/secret"), nil, 0o600))
	socket, err := net.Listen("unix", at("socket"))
	must(err)
	defer socket.Close()

	m, err := s.Import(t.Context(), "copy", Import{Path: from, Progress: quiet})
	must(err)
	if got, want := s.below("copy"), []string{"bin/", "bin/bash", "bin/sh", "link", "mnt/"}; !slices.Equal(got, want) {
		t.Errorf("the copy has %q, want %q", got, want)
	}
	first, second := s.stat("copy", "bin/sh"), s.stat("copy", "bin/bash")
	if first.Ino != second.Ino || first.Uid != 5 || first.Gid != 6 {
		t.Errorf("sh is %+v, bash %+v", first, second)
	}
	if attributes, _ := attributesOf(s.Tree("copy")+"/bin/sh", first); !strings.Contains(attributes, "security.capability") {
		t.Errorf("its attributes are %s", attributes)
	}
	for _, want := range []string{"1 devices", "1 mount points", "1 sockets"} {
		if !strings.Contains(strings.Join(m.Notes, "\n"), want) {
			t.Errorf("the notes %q don't tell of %q", m.Notes, want)
		}
	}
}

func TestAnInterruptedImportLeavesNothing(t *testing.T) {
	s := newStage(t)
	ctx, cancel := context.WithCancel(t.Context())
	body := archiveOf(t, file("a", strings.Repeat("x", 4<<20)))
	_, err := s.Import(ctx, "a", Import{Path: "-", Progress: quiet, Stdin: readerFunc(func(p []byte) (int, error) {
		cancel() // in the middle of the first file
		n := copy(p, body)
		body = body[n:]
		return n, nil
	})})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	s.nothingLeft()
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// FuzzUntar wants nothing outside of the tree, whatever the archive.
func FuzzUntar(f *testing.F) {
	f.Add(archiveOf(f, symlink("a", "/"), file("a/b", "1"), hard("c", "a/b"), dir("d"), file(".wh.d", "")), true)
	f.Add(archiveOf(f, symlink("a", "../.."), file("a/b", "1"), file("x/.wh..wh..opq", "")), false)
	f.Fuzz(func(t *testing.T, body []byte, layered bool) {
		needRoot(t)
		above := t.TempDir()
		if err := os.Mkdir(filepath.Join(above, "tree"), 0o755); err != nil {
			t.Fatal(err)
		}
		tree, err := openTree(filepath.Join(above, "tree"))
		if err != nil {
			t.Fatal(err)
		}
		defer tree.close()
		w := newWriter(tree)
		w.bytesMax = 1 << 20
		if layered {
			w.beginLayer()
		}
		if err := w.untar(t.Context(), io.LimitReader(bytes.NewReader(body), 1<<20)); err == nil {
			if _, _, err = tree.complete(); err == nil {
				_ = tree.clean()
			}
		}
		if found, _ := os.ReadDir(above); len(found) != 1 {
			t.Errorf("beside the tree there is %v", found)
		}
	})
}
