package output

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// listener takes what FollowRaw hands over.
type listener struct {
	t *testing.T

	mu    sync.Mutex
	heard map[string]string
	more  chan struct{}
}

func newListener(t *testing.T) *listener {
	return &listener{t: t, heard: map[string]string{}, more: make(chan struct{}, 1)}
}

func (l *listener) emit(stream string, data []byte) error {
	if len(data) == 0 || len(data) > 64<<10 {
		l.t.Errorf("a piece of %d bytes", len(data))
	}
	l.mu.Lock()
	l.heard[stream] += string(data)
	l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
	return nil
}

func (l *listener) get(stream string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heard[stream]
}

func (l *listener) await(stream, want string) {
	l.t.Helper()
	deadline := time.After(limit)
	for l.get(stream) != want {
		select {
		case <-l.more:
		case <-deadline:
			l.t.Fatalf("%s gave %q, want %q", stream, l.get(stream), want)
		}
	}
}

func (j *job) followRaw(f *Follower, l *listener) <-chan error {
	result := make(chan error, 1)
	go func() { result <- f.FollowRaw(context.Background(), Files{Dir: j.dir, Done: j.done}, l.emit) }()
	return result
}

func TestBytesComeAsTheyAreWritten(t *testing.T) {
	j, f := newJob(t), newFollower(t)
	j.write("stdout", "before")
	first := newListener(t)
	followed := j.followRaw(f, first)
	first.await("stdout", "before")
	j.write("stdout", "\x00\xff and")
	first.await("stdout", "before\x00\xff and")
	j.write("stderr", "oops")
	first.await("stderr", "oops")

	late := newListener(t) // begins at the start, too
	lateFollowed := j.followRaw(f, late)
	late.await("stdout", "before\x00\xff and")
	j.write("stdout", " after")
	close(j.done)
	for _, result := range []<-chan error{followed, lateFollowed} {
		if err := <-result; err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range []*listener{first, late} {
		if got := l.get("stdout") + "|" + l.get("stderr"); got != "before\x00\xff and after|oops" {
			t.Errorf("heard %q", got)
		}
	}
}

func TestRawOutputBeginsBehindTheHole(t *testing.T) {
	j := newJob(t)
	j.write("stdout", strings.Repeat("a", 8192)+"kept")
	punch(t, j.dir, 8192)
	close(j.done)
	l := newListener(t)
	if err := <-j.followRaw(newFollower(t), l); err != nil || l.get("stdout") != "kept" {
		t.Errorf("heard %q, %v", l.get("stdout"), err)
	}
	stdout, stderr, exceeded, err := Gather(j.dir, 8192+4)
	if string(stdout) != "kept" || len(stderr) != 0 || exceeded || err != nil {
		t.Errorf("gathered %q %q %v %v", stdout, stderr, exceeded, err)
	}
	// What was punched out counts.
	if stdout, _, exceeded, err = Gather(j.dir, 8192); string(stdout) != "kept" || !exceeded || err != nil {
		t.Errorf("gathered %q %v %v", stdout, exceeded, err)
	}
}

func TestRawOutputOfATruncatedFileComesFromItsStart(t *testing.T) {
	j, l := newJob(t), newListener(t)
	followed := j.followRaw(newFollower(t), l)
	j.write("stdout", "a first")
	l.await("stdout", "a first")
	if err := os.Truncate(filepath.Join(j.dir, "stdout"), 0); err != nil {
		t.Fatal(err)
	}
	j.write("stdout", "new")
	l.await("stdout", "a firstnew")
	close(j.done)
	if err := <-followed; err != nil {
		t.Error(err)
	}
}

func TestFollowingRawEnds(t *testing.T) {
	j, f := newJob(t), newFollower(t)
	j.write("stdout", "x")
	refused, gone := errors.New("no"), errors.New("gone")
	refuse := func(string, []byte) error { return refused }
	if err := f.FollowRaw(t.Context(), Files{Dir: j.dir, Done: j.done}, refuse); !errors.Is(err, refused) {
		t.Errorf("error is %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	leave := func(string, []byte) error { cancel(gone); return nil }
	if err := f.FollowRaw(ctx, Files{Dir: j.dir, Done: j.done}, leave); !errors.Is(err, gone) {
		t.Errorf("error is %v", err)
	}
	if err := f.FollowRaw(t.Context(), Files{Dir: t.TempDir()}, refuse); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error is %v", err)
	}
	if len(f.waiting) != 0 {
		t.Errorf("%d watches are left", len(f.waiting))
	}
	l := newListener(t)
	followed := j.followRaw(f, l)
	l.await("stdout", "x")
	f.Close()
	if err := <-followed; !errors.Is(err, ErrClosed) {
		t.Errorf("error is %v", err)
	}
}

func TestTheLimitCountsBothStreams(t *testing.T) {
	const most = 102400
	for name, c := range map[string]struct {
		stdout, stderr   int // written
		wantOut, wantErr int
		exceeded         bool
	}{
		"nothing":            {},
		"just the limit":     {stdout: most - 10, stderr: 10, wantOut: most - 10, wantErr: 10},
		"one more":           {stdout: most - 10, stderr: 11, wantOut: most - 10, wantErr: 11, exceeded: true},
		"much on stdout":     {stdout: 1 << 20, stderr: 5, wantOut: most + chunkMax - 5, wantErr: 5, exceeded: true},
		"much on stderr":     {stdout: 5, stderr: 1 << 20, wantOut: 5, wantErr: most + chunkMax - 5, exceeded: true},
		"much on both":       {stdout: 1 << 20, stderr: 1 << 20, wantOut: (most + chunkMax) / 2, wantErr: (most + chunkMax) / 2, exceeded: true},
		"all on stdout":      {stdout: most, wantOut: most},
		"all on stderr":      {stderr: most, wantErr: most},
		"a little too much":  {stderr: most + 1, wantErr: most + 1, exceeded: true},
		"a piece too much":   {stdout: most + chunkMax, wantOut: most + chunkMax, exceeded: true},
		"and one byte above": {stdout: most + chunkMax + 1, wantOut: most + chunkMax, exceeded: true},
	} {
		t.Run(name, func(t *testing.T) {
			j := newJob(t)
			written := map[string]string{"stdout": text(c.stdout), "stderr": text(c.stderr)}
			for stream, text := range written {
				j.write(stream, text)
			}
			stdout, stderr, exceeded, err := Gather(j.dir, most)
			if err != nil || exceeded != c.exceeded {
				t.Errorf("exceeded is %v, %v", exceeded, err)
			}
			if string(stdout) != written["stdout"][:c.wantOut] || string(stderr) != written["stderr"][:c.wantErr] {
				t.Errorf("gathered %d and %d bytes, want %d and %d", len(stdout), len(stderr), c.wantOut, c.wantErr)
			}
			close(j.done)
			exceeded, err = newFollower(t).Exceeds(t.Context(), Files{Dir: j.dir, Done: j.done}, most)
			if err != nil || exceeded != c.exceeded {
				t.Errorf("watched, exceeded is %v, %v", exceeded, err)
			}
		})
	}
}

// text is so many bytes that no two of its pieces are alike.
func text(size int) string {
	var b strings.Builder
	for i := 0; b.Len() < size; i++ {
		b.WriteString(strings.Repeat(string(rune('a'+i%26)), 1+i%100))
	}
	return b.String()[:size]
}

func TestALimitIsWatchedWhileTheJobRuns(t *testing.T) {
	j, f := newJob(t), newFollower(t)
	type verdict struct {
		exceeded bool
		err      error
	}
	verdicts := make(chan verdict, 1)
	watch := func(ctx context.Context) {
		exceeded, err := f.Exceeds(ctx, Files{Dir: j.dir, Done: j.done}, 10)
		verdicts <- verdict{exceeded, err}
	}
	go watch(t.Context())
	j.write("stdout", "12345")
	j.write("stderr", "12345")
	select {
	case v := <-verdicts:
		t.Fatalf("at the limit: %+v", v)
	case <-time.After(50 * time.Millisecond): // nothing is to come
	}
	j.write("stderr", "6")
	select {
	case v := <-verdicts:
		if !v.exceeded || v.err != nil {
			t.Errorf("beyond the limit: %+v", v)
		}
	case <-time.After(limit):
		t.Fatal("nobody noticed")
	}

	gone := errors.New("gone")
	if err := os.Truncate(filepath.Join(j.dir, "stderr"), 0); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	if watch(ctx); (<-verdicts).err != gone {
		t.Error("a watcher that left got another error")
	}
}

// 64 MiB while PID 1 punches out what is old: what comes is a part of what was
// written, and the end comes.
func TestHolesPunchedMeanwhileGiveNoZeroes(t *testing.T) {
	j, f := newJob(t), newFollower(t)
	name := filepath.Join(j.dir, "stdout")
	go func() {
		defer close(j.done)
		file, err := os.OpenFile(name, os.O_APPEND|os.O_RDWR, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer file.Close()
		block := bytes.Repeat([]byte("x"), 1<<20)
		for i := range int64(64) {
			if _, err := file.Write(block); err != nil {
				t.Error(err)
			}
			if keep := (i - 1) << 20; keep > 0 {
				mode := uint32(unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE)
				if err := unix.Fallocate(int(file.Fd()), mode, 0, keep); err != nil {
					t.Error(err)
				}
			}
		}
		file.WriteString("end")
	}()
	var last []byte
	total := 0
	err := f.FollowRaw(t.Context(), Files{Dir: j.dir, Done: j.done}, func(_ string, data []byte) error {
		total += len(data)
		if bytes.IndexByte(data, 0) >= 0 {
			return errors.New("zeroes came")
		}
		last = append(last[:0], data...)
		return nil
	})
	if err != nil || !bytes.HasSuffix(last, []byte("end")) {
		t.Errorf("it ends in %.10q after %d bytes, %v", last, total, err)
	}
}

func BenchmarkRawFromPageCache(b *testing.B) {
	dir := b.TempDir()
	block := bytes.Repeat([]byte("0123456789abcdef"), 4<<20) // 64 MiB
	if err := os.WriteFile(filepath.Join(dir, "stdout"), block, 0o600); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "stderr"), nil, 0o600); err != nil {
		b.Fatal(err)
	}
	f, err := NewFollower()
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	done := make(chan struct{})
	close(done)
	b.SetBytes(int64(len(block)))
	b.ReportAllocs()
	for b.Loop() {
		total := 0
		err := f.FollowRaw(b.Context(), Files{Dir: dir, Done: done}, func(_ string, data []byte) error {
			total += len(data)
			return nil
		})
		if err != nil || total != len(block) {
			b.Fatal(total, err)
		}
	}
}

func BenchmarkGatherTenMegabytes(b *testing.B) {
	dir := b.TempDir()
	block := bytes.Repeat([]byte("0123456789"), 1<<20)
	for _, stream := range Streams {
		if err := os.WriteFile(filepath.Join(dir, stream), block, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(2 * len(block)))
	for b.Loop() {
		if _, _, exceeded, err := Gather(dir, 100<<20); exceeded || err != nil {
			b.Fatal(exceeded, err)
		}
	}
}
