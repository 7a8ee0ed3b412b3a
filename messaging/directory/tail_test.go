package directory

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// reader is a client that follows.
type reader struct {
	t      *testing.T
	answer *http.Response
	lines  *bufio.Reader
}

func (s *stage) follow(t *testing.T, link string) *reader {
	t.Helper()
	answer := s.get(link)
	if answer.StatusCode != http.StatusOK || answer.ContentLength != -1 || len(answer.TransferEncoding) != 1 {
		t.Fatalf("%d, %d bytes, %v", answer.StatusCode, answer.ContentLength, answer.TransferEncoding)
	}
	return &reader{t, answer, bufio.NewReader(answer.Body)}
}

func (r *reader) expect(want string) {
	r.t.Helper()
	if line, err := r.lines.ReadString('\n'); line != want {
		r.t.Fatalf("came %q, %v; want %q", line, err, want)
	}
}

// end is how it ends: nil is the last chunk.
func (r *reader) end() error {
	r.t.Helper()
	rest, err := io.ReadAll(r.lines)
	if len(rest) > 0 {
		r.t.Errorf("and there came %q", rest)
	}
	return err
}

// bothWays plays act where files can be watched and where they can't.
func bothWays(t *testing.T, act func(t *testing.T, s *stage)) {
	for name, blind := range map[string]bool{"watched": false, "looked at": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, time.Minute)
			s.files.blind = blind
			act(t, s)
		})
	}
}

func TestAFileIsFollowedFromWhereItIsAskedFor(t *testing.T) {
	bothWays(t, func(t *testing.T, s *stage) {
		s.write("log", "before\n")
		end, start, middle := s.follow(t, s.link("log")+"&tail"), s.follow(t, s.link("log")+"&tail&tail_offset=0"),
			s.follow(t, s.link("log")+"&tail=1&tail_offset=4")
		start.expect("before\n")
		middle.expect("re\n")
		ahead := s.follow(t, s.link("log")+"&tail&tail_offset=13")
		s.append("log", "after\n")
		for _, r := range []*reader{end, start, middle} {
			r.expect("after\n")
		}
		s.append("log", "much later\n")
		for _, r := range []*reader{end, start, middle, ahead} {
			r.expect("much later\n")
		}
	})
}

func TestFollowingEndsWithTheFilesName(t *testing.T) {
	bothWays(t, func(t *testing.T, s *stage) {
		for name, lose := range map[string]func(name string) error{
			"renamed": func(name string) error { return os.Rename(name, name+".1") },
			"removed": os.Remove,
			"replaced": func(name string) error {
				return errors.Join(os.WriteFile(name+".new", nil, 0o644), os.Rename(name+".new", name))
			},
		} {
			file := s.write(name, "")
			r := s.follow(t, s.link(name)+"&tail")
			s.append(name, "one\n")
			r.expect("one\n")
			s.append(name, "the last\n")
			if err := lose(file); err != nil {
				t.Fatal(err)
			}
			r.expect("the last\n")
			if err := r.end(); err != nil {
				t.Errorf("%s: it ends with %v", name, err)
			}
		}
	})
}

func TestATruncatedFileIsFollowedFromItsBeginning(t *testing.T) {
	bothWays(t, func(t *testing.T, s *stage) {
		file := s.write("log", "one\ntwo\n")
		r := s.follow(t, s.link("log")+"&tail&tail_offset=0")
		r.expect("one\n")
		r.expect("two\n")
		if err := os.Truncate(file, 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * gatherFor) // a file that is as long again before anybody looks can't be told from one that grew
		if s.files.blind {
			time.Sleep(lookEvery)
		}
		s.append("log", "new\n")
		r.expect("new\n")
	})
}

// After too long a silence the connection is cut: the client knows that it was
// not the end.
func TestSilenceCutsAFollowerOff(t *testing.T) {
	s := newStage(t, 400*time.Millisecond)
	s.write("log", "")
	r := s.follow(t, s.link("log")+"&tail")
	began := time.Now()
	for range 4 {
		time.Sleep(200 * time.Millisecond) // each line ends a silence
		s.append("log", "line\n")
		r.expect("line\n")
	}
	if err := r.end(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("it ends with %v", err)
	}
	if took := time.Since(began); took < 1200*time.Millisecond {
		t.Errorf("it was cut off after %s", took)
	}
}

func TestABadOffsetIsRefused(t *testing.T) {
	s := newStage(t, time.Minute)
	s.write("log", "")
	for _, offset := range []string{"", "-1", "x", "1.5", "99999999999999999999"} {
		answer := s.get(s.link("log") + "&tail&tail_offset=" + offset)
		if body := s.body(answer); answer.StatusCode != http.StatusInternalServerError ||
			!strings.HasPrefix(body, "Can't serve request due to error: tail_offset") {
			t.Errorf("%q: %d %s", offset, answer.StatusCode, body)
		}
	}
}

func TestFollowersAreCounted(t *testing.T) {
	s := newStage(t, time.Minute)
	s.write("log", "")
	var first *reader
	for range followersMax {
		r := s.follow(t, s.link("log")+"&tail")
		if first == nil {
			first = r
		}
	}
	answer := s.get(s.link("log") + "&tail")
	if answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
		t.Errorf("one too many: %d", answer.StatusCode)
	}
	if body := s.body(s.get(s.link("log"))); body != "" {
		t.Errorf("a reader of the file itself gets %q", body)
	}
	first.answer.Body.Close()
	for deadline := time.Now().Add(5 * time.Second); ; {
		answer := s.get(s.link("log") + "&tail")
		if answer.StatusCode == http.StatusOK {
			return
		}
		answer.Body.Close()
		if time.Now().After(deadline) {
			t.Fatal("the place of one that left is not given to another")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// A door that closes ends its followers and leaves nothing running (goleak).
func TestADoorThatClosesLetsFollowersGo(t *testing.T) {
	s := newStage(t, time.Minute)
	s.write("log", "")
	var all []*reader
	for range 8 {
		all = append(all, s.follow(t, s.link("log")+"&tail"))
	}
	began := time.Now()
	if err := s.door.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("closing took %s", took)
	}
	for _, r := range all {
		if r.end() == nil {
			t.Error("a follower was told that it was the end")
		}
	}
}

// Much that is written at once comes whole and in order.
func TestEverythingThatIsWrittenComes(t *testing.T) {
	s := newStage(t, time.Minute)
	file := s.write("log", "")
	r := s.follow(t, s.link("log")+"&tail")
	want := strings.Repeat("0123456789abcdef", 64<<10)
	go func() {
		for at := 0; at < len(want); at += 10_000 {
			s.append("log", want[at:min(at+10_000, len(want))])
		}
		os.Remove(file)
	}()
	got, err := io.ReadAll(r.lines)
	if err != nil || string(got) != want {
		t.Errorf("%d of %d bytes came: %v", len(got), len(want), err)
	}
}
