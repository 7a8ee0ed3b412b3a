package directory

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestEveryRefusalHasTheWiresWords(t *testing.T) {
	s := newStage(t, time.Minute)
	broken := fmt.Errorf("agent: %w", &fs.PathError{Op: "open", Path: "/var/lib/secret", Err: unix.EIO})
	fire := errors.New("/var/lib/secret is on fire")
	for err, want := range map[error]string{
		ErrUnknown:       `404 application/json {"error":"Unknown instance"}`,
		ErrUnavailable:   `503 application/json {"error":"Instance unavailable"}`,
		fs.ErrNotExist:   `404 application/json {"error":"Entity not found"}`,
		fs.ErrPermission: `403 application/json {"error":"Not accessible"}`,
		unix.EACCES:      `403 application/json {"error":"Not accessible"}`,
		unix.ENOTDIR:     `404 application/json {"error":"Entity not found"}`,
		unix.ELOOP:       `404 application/json {"error":"Entity not found"}`,
		unix.EINVAL:      `404 application/json {"error":"Entity not found"}`,
		broken:           "500 text/plain Can't serve request due to error: input/output error",
		fire:             "500 text/plain Can't serve request due to error: it failed inside the node",
	} {
		s.files.err = err
		answer := s.get(s.link("/"))
		got := fmt.Sprint(answer.StatusCode, " ", answer.Header.Get("Content-Type"), " ", s.body(answer))
		if got != want {
			t.Errorf("%v: %s", err, got)
		}
	}
}

func TestOnlyReadingIsAnswered(t *testing.T) {
	s := newStage(t, time.Minute)
	s.write("f", "content")
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, "PROPFIND"} {
		answer := s.get(s.link("f"), func(r *http.Request) { r.Method = method })
		if answer.StatusCode != http.StatusMethodNotAllowed || answer.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d", method, answer.StatusCode)
		}
	}
	answer := s.get(s.link("f"), func(r *http.Request) { r.Method = http.MethodHead })
	if body := s.body(answer); answer.StatusCode != http.StatusOK || answer.ContentLength != 7 || body != "" {
		t.Errorf("HEAD: %d, %d bytes, %q", answer.StatusCode, answer.ContentLength, body)
	}
}

func TestAFolderIsListedAsTheWireHasIt(t *testing.T) {
	s := newStage(t, time.Minute)
	for name, size := range map[string]int64{
		"empty": 0, "1023": 1023, "1024": 1024, "1536": 1536, "mega": 1<<20 + 1<<19, "giga": 3 << 30, "tera": 5 << 40,
	} {
		if err := os.Truncate(s.write("top/"+name, ""), size); err != nil && !errors.Is(err, unix.EFBIG) {
			t.Fatal(err)
		} else if err != nil {
			t.Log(name, err)
		}
	}
	s.write("top/folder/inside", "")
	s.write("top/"+strings.Repeat("long", 20), "x")
	if err := os.Symlink("folder", filepath.Join(s.files.dir, "top/link")); err != nil {
		t.Fatal(err)
	}
	answer := s.get(s.link("/top"))
	want := `1023                                     1023B
1024                                      1.0K
1536                                      1.5K
empty                                       0B
folder/                                      -
giga                                      3.0G
link                                        6B
longlonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglong         1B
mega                                      1.5M
tera                                      5.0T
`
	if got := s.body(answer); got != want || answer.Header.Get("Content-Type") != "text/plain" {
		t.Errorf("%s\n%s", answer.Header.Get("Content-Type"), got)
	}
	if answer.Header.Get("Accept-Ranges") != "" {
		t.Error("a folder has no ranges")
	}
	if err := os.Mkdir(filepath.Join(s.files.dir, "nothing"), 0o755); err != nil {
		t.Fatal(err)
	}
	if answer := s.get(s.link("nothing")); s.body(answer) != "" || answer.StatusCode != http.StatusOK {
		t.Errorf("an empty folder: %d", answer.StatusCode)
	}
	if answer := s.get(s.link("/top") + "&tail"); s.body(answer) != want {
		t.Error("a folder that is followed is not listed")
	}
}

func TestAFolderThatVanishedIsSaidInTheWiresWords(t *testing.T) {
	s := newStage(t, time.Minute)
	if err := os.Mkdir(filepath.Join(s.files.dir, "gone"), 0o755); err != nil {
		t.Fatal(err)
	}
	folder, err := os.Open(filepath.Join(s.files.dir, "gone"))
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	if err := os.Remove(folder.Name()); err != nil {
		t.Fatal(err)
	}
	w := &kept{header: http.Header{}}
	list(w, folder)
	if w.status != http.StatusBadRequest || w.body.String() != "Entity not found.\n" || w.header.Get("X-Cascade") != "pass" {
		t.Errorf("%d %v %q", w.status, w.header, w.body.String())
	}
}

// kept is an answer that nobody gets.
type kept struct {
	header http.Header
	status int
	body   strings.Builder
}

func (k *kept) Header() http.Header         { return k.header }
func (k *kept) WriteHeader(status int)      { k.status = status }
func (k *kept) Write(b []byte) (int, error) { return k.body.Write(b) }

func TestAFolderWithTooManyEntriesIsNotListed(t *testing.T) {
	dir := t.TempDir()
	for i := range entriesMax + 1 {
		fd, err := unix.Open(fmt.Sprintf("%s/%d", dir, i), unix.O_CREAT|unix.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
	}
	w := &kept{header: http.Header{}}
	folder, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	if list(w, folder); w.status != http.StatusInternalServerError || !strings.Contains(w.body.String(), "too many entries") {
		t.Errorf("%d %.80q", w.status, w.body.String())
	}
	if err := os.Remove(dir + "/0"); err != nil {
		t.Fatal(err)
	}
	folder.Seek(0, io.SeekStart)
	w = &kept{header: http.Header{}}
	if list(w, folder); w.status != 0 || strings.Count(w.body.String(), "\n") != entriesMax {
		t.Errorf("%d, %d lines", w.status, strings.Count(w.body.String(), "\n"))
	}
}

func TestAFileIsSentWithItsRanges(t *testing.T) {
	s := newStage(t, time.Minute)
	big := strings.Repeat("0123456789abcdef", 3*pieceMax/16) + "the end"
	s.write("big", big)
	whole := s.get(s.link("big"))
	if got := s.body(whole); got != big || whole.ContentLength != int64(len(big)) || whole.Header.Get("Accept-Ranges") != "bytes" {
		t.Errorf("%d of %d bytes came", len(got), len(big))
	}
	modified := whole.Header.Get("Last-Modified")
	for ranges, want := range map[string]string{
		"bytes=0-9": big[:10], "bytes=786432-": "the end", "bytes=-3": "end", "bytes=786435-786438": " end",
		"bytes=262140-524290": big[262140:524291],
	} {
		answer := s.get(s.link("big"), header("Range", ranges), header("If-Range", modified))
		if got := s.body(answer); got != want || answer.StatusCode != http.StatusPartialContent {
			t.Errorf("%s: %d, %d bytes, want %d", ranges, answer.StatusCode, len(got), len(want))
		}
	}
	if answer := s.get(s.link("big"), header("Range", "bytes=9999999-")); answer.StatusCode != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("beyond its end: %d", answer.StatusCode)
	}
	answer := s.get(s.link("big"), header("Range", "bytes=0-9"), header("If-Range", "Mon, 02 Jan 2006 15:04:05 GMT"))
	if got := s.body(answer); len(got) != len(big) || answer.StatusCode != http.StatusOK {
		t.Errorf("of another version: %d, %d bytes", answer.StatusCode, len(got))
	}
	if s.body(s.get(s.link(s.emptyFile()))) != "" {
		t.Error("an empty file has something in it")
	}
}

func (s *stage) emptyFile() string {
	s.write("empty", "")
	return "empty"
}

// raw speaks to the door without a client's manners.
func (s *stage) raw(text string) net.Conn {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.door.Address().String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		s.t.Fatal(err)
	}
	return conn
}

// ends waits until the door has closed a connection.
func ends(t *testing.T, conn net.Conn, limit time.Duration) string {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(limit))
	said, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("it is open after %s; said was %q", limit, said)
	}
	return string(said)
}

func TestABodyThatNeverComesIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	s := newStage(t, time.Minute)
	link := strings.TrimPrefix(s.link("/"), "http://"+s.door.Address().String())
	for _, length := range []string{"Content-Length: 1000", "Transfer-Encoding: chunked"} {
		conn := s.raw("GET " + link + " HTTP/1.1\r\nHost: h\r\n" + length + "\r\n\r\n")
		if said := ends(t, conn, headerMax+5*time.Second); !strings.HasPrefix(said, "HTTP/1.1 400") {
			t.Errorf("%s: %q", length, said)
		}
	}
}

func TestARequestThatComesDropByDropIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	s := newStage(t, time.Minute)
	conn := s.raw("GET /instance_paths/here HTTP/1.1\r\n")
	stop := make(chan struct{})
	dripping := make(chan struct{})
	go func() {
		defer close(dripping)
		for {
			select {
			case <-stop:
				return
			case <-time.After(500 * time.Millisecond):
				io.WriteString(conn, "X: y\r\n")
			}
		}
	}()
	ends(t, conn, headerMax+5*time.Second)
	close(stop)
	<-dripping
}

func TestALinkThatIsTooLongIsRefused(t *testing.T) {
	s := newStage(t, time.Minute)
	answer := s.get(s.link("f") + "&x=" + strings.Repeat("x", 64<<10))
	if answer.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("%d", answer.StatusCode)
	}
	// The longest path that there is has room, escaped as it may be.
	if answer := s.get(s.link(strings.Repeat("é/", 1365))); answer.StatusCode != http.StatusNotFound {
		t.Errorf("the longest path: %d", answer.StatusCode)
	}
}

// More clients than the door takes wait until one of them goes.
func TestMoreConnectionsThanAreTakenWait(t *testing.T) {
	s := newStage(t, time.Minute)
	s.write("f", "content")
	link := strings.TrimPrefix(s.link("f"), "http://"+s.door.Address().String())
	var idle []net.Conn
	for range connectionsMax {
		idle = append(idle, s.raw(""))
	}
	late := s.raw("GET " + link + " HTTP/1.1\r\nHost: h\r\n\r\n")
	late.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	if _, err := bufio.NewReader(late).ReadString('\n'); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one too many is answered: %v", err)
	}
	for _, conn := range idle[:8] {
		conn.Close()
	}
	late.SetReadDeadline(time.Now().Add(5 * time.Second))
	if said, err := bufio.NewReader(late).ReadString('\n'); said != "HTTP/1.1 200 OK\r\n" {
		t.Errorf("when there is room it is answered %q, %v", said, err)
	}
}

func TestADoorThatNeverServedCloses(t *testing.T) {
	s := newStage(t, time.Minute)
	config := s.door.config
	config.Listen = s.door.Address()
	if _, err := Open(config, s.files); err == nil {
		t.Error("two doors listen at one address")
	}
	config.Listen = netip.MustParseAddrPort("127.0.0.1:0")
	other, err := Open(config, s.files)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
}

// BenchmarkFile compares a file's way through the door with net/http's own.
func BenchmarkFile(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 20} {
		s := newStage(b, time.Minute)
		s.write("f", strings.Repeat("x", size))
		plain := &http.Server{Handler: http.FileServer(http.Dir(s.files.dir))}
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- plain.Serve(listener) }()
		for name, link := range map[string]string{"door": s.link("f"), "plain": "http://" + listener.Addr().String() + "/f"} {
			b.Run(fmt.Sprintf("%s/%dKiB", name, size>>10), func(b *testing.B) {
				b.SetBytes(int64(size))
				for b.Loop() {
					answer, err := s.client.Get(link)
					if err != nil {
						b.Fatal(err)
					}
					if n, _ := io.Copy(io.Discard, answer.Body); n != int64(size) {
						b.Fatal(n, "bytes came")
					}
					answer.Body.Close()
				}
			})
		}
		plain.Close()
		<-served
	}
}
