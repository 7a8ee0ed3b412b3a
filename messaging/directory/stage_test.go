package directory

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/deacon-agent/deacon/isolation/watch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// folderOf are the files of one instance, in a folder of the test's.
type folderOf struct {
	dir    string
	opened atomic.Int32
	blind  bool  // nothing can be watched
	err    error // what opening gives instead
}

func (f *folderOf) Open(_ context.Context, instance, path string) (*os.File, error) {
	f.opened.Add(1)
	if f.err != nil {
		return nil, f.err
	}
	if instance != "here" {
		return nil, ErrUnknown
	}
	return os.Open(filepath.Join(f.dir, path))
}

func (f *folderOf) Watch(file *os.File) (Watch, error) {
	if f.blind {
		return nil, errors.New("there are no watches left")
	}
	return watch.File(file)
}

// stage is a door and its files.
type stage struct {
	t      testing.TB
	door   *Door
	files  *folderOf
	signer *Signer
	client *http.Client
}

func newStage(t testing.TB, silence time.Duration) *stage {
	t.Helper()
	s := &stage{t: t, files: &folderOf{dir: t.TempDir()}, client: &http.Client{Transport: &http.Transport{}}}
	s.signer = &Signer{Key: []byte("a key of the test's"), Protocol: "http", Host: "files.example", Lifetime: time.Hour}
	config := Config{
		Listen: netip.MustParseAddrPort("127.0.0.1:0"), Signer: s.signer, Silence: silence, Log: hclog.NewNullLogger(),
	}
	var err error
	if s.door, err = Open(config, s.files); err != nil {
		t.Fatal(err)
	}
	s.door.Serve()
	t.Cleanup(func() {
		s.client.CloseIdleConnections()
		if err := s.door.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *stage) write(name, content string) string {
	s.t.Helper()
	name = filepath.Join(s.files.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(content), 0o644)); err != nil {
		s.t.Fatal(err)
	}
	return name
}

func (s *stage) append(name, content string) {
	s.t.Helper()
	file, err := os.OpenFile(filepath.Join(s.files.dir, name), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = io.WriteString(file, content)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// link is a link to a path, as whoever comes by the door's own address has it.
func (s *stage) link(path string) string {
	return strings.Replace(s.signer.URL("here", path), "files.example", s.door.Address().String(), 1)
}

// get asks for a link; changes are made to the request before.
func (s *stage) get(link string, changes ...func(*http.Request)) *http.Response {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, link, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, change := range changes {
		change(request)
	}
	answer, err := s.client.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { answer.Body.Close() })
	return answer
}

func (s *stage) body(answer *http.Response) string {
	s.t.Helper()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(content)
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}
