package output

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// limit is how long a test waits for what is to come at once.
const limit = 20 * time.Second

// job is a folder with the files of a job, and what was followed of it.
type job struct {
	t    *testing.T
	dir  string
	done chan struct{}

	mu      sync.Mutex
	lines   []Line
	arrived chan struct{} // one token for each batch
}

func newJob(t *testing.T) *job {
	j := &job{t: t, dir: t.TempDir(), done: make(chan struct{}), arrived: make(chan struct{}, 1)}
	for _, stream := range Streams {
		j.write(stream, "")
	}
	return j
}

func (j *job) write(stream, text string) {
	j.t.Helper()
	file, err := os.OpenFile(filepath.Join(j.dir, stream), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		j.t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString(text); err != nil {
		j.t.Fatal(err)
	}
}

func (j *job) emit(lines []Line) error {
	j.mu.Lock()
	j.lines = append(j.lines, lines...)
	j.mu.Unlock()
	select {
	case j.arrived <- struct{}{}:
	default:
	}
	return nil
}

// texts are the lines of one stream so far.
func (j *job) texts(stream string) (texts []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, line := range j.lines {
		if line.Stream == stream {
			texts = append(texts, string(line.Text))
		}
	}
	return texts
}

// await waits until stdout has given what is wanted.
func (j *job) await(want ...string) {
	j.t.Helper()
	deadline := time.After(limit)
	for !slices.Equal(j.texts("stdout"), want) {
		select {
		case <-j.arrived:
		case <-deadline:
			j.t.Fatalf("lines are %q, want %q", j.texts("stdout"), want)
		}
	}
}

// follow starts following; the returned function ends the job and waits.
func (j *job) follow(f *Follower) (finish func()) {
	result := make(chan error, 1)
	go func() { result <- f.Follow(context.Background(), Files{Dir: j.dir, Done: j.done}, j.emit) }()
	return func() {
		j.t.Helper()
		close(j.done)
		if err := <-result; err != nil {
			j.t.Fatal(err)
		}
	}
}

// followOnce reads a job that has ended already.
func (j *job) followOnce(f *Follower, emit func([]Line) error) error {
	done := make(chan struct{})
	close(done)
	return f.Follow(context.Background(), Files{Dir: j.dir, Done: done}, emit)
}

func newFollower(t *testing.T) *Follower {
	t.Helper()
	f, err := NewFollower()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestLinesComeAsTheyAreWritten(t *testing.T) {
	j := newJob(t)
	j.write("stdout", "before\n")
	finish := j.follow(newFollower(t))
	j.await("before")

	j.write("stdout", "one\ntwo\nthr")
	j.await("before", "one", "two")
	j.write("stdout", "ee\n")
	j.await("before", "one", "two", "three")
	j.write("stderr", "oops\n")
	j.write("stdout", "no end")
	finish()

	j.await("before", "one", "two", "three", "no end")
	if got := j.texts("stderr"); !slices.Equal(got, []string{"oops"}) {
		t.Errorf("stderr gave %q", got)
	}
	for _, line := range j.lines {
		if line.At.IsZero() || line.Dropped != 0 {
			t.Errorf("line %+v", line)
		}
	}
}

func TestATruncatedFileIsReadFromItsStart(t *testing.T) {
	j := newJob(t)
	finish := j.follow(newFollower(t))
	j.write("stdout", "a first line\nunfinished")
	j.await("a first line")

	if err := os.Truncate(filepath.Join(j.dir, "stdout"), 0); err != nil {
		t.Fatal(err)
	}
	j.write("stdout", "new\n")
	j.await("a first line", "new")
	finish()
}

func punch(t *testing.T, dir string, size int64) {
	t.Helper()
	file, err := os.OpenFile(filepath.Join(dir, "stdout"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	mode := uint32(unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE)
	if err := unix.Fallocate(int(file.Fd()), mode, 0, size); err != nil {
		t.Fatal(err)
	}
}

// PID 1 has punched out 8 KiB before anybody read: the line that the hole cuts
// goes, everything behind it comes, and the sum of what was lost is exact.
func TestAHoleIsSkippedAndCounted(t *testing.T) {
	j := newJob(t)
	var text strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&text, "line %06d\n", i) // 12 bytes
	}
	j.write("stdout", text.String())
	punch(t, j.dir, 8192)

	if err := j.followOnce(newFollower(t), j.emit); err != nil {
		t.Fatal(err)
	}

	first := j.lines[0]
	if string(first.Text) != "line 000683" || first.Dropped != 683*12 {
		t.Errorf("first line is %q after %d lost bytes", first.Text, first.Dropped)
	}
	if last := j.lines[len(j.lines)-1]; string(last.Text) != "line 000999" || last.Dropped != 0 {
		t.Errorf("last line is %+v", last)
	}
}

// A file that is nothing but hole up to its end, as an application makes it
// that grows its own file: a terabyte costs no time.
func TestAHoleUpToTheEndCostsNothing(t *testing.T) {
	j := newJob(t)
	const size = 1 << 40
	if err := os.Truncate(filepath.Join(j.dir, "stdout"), size); err != nil {
		t.Fatal(err)
	}
	if err := j.followOnce(newFollower(t), j.emit); err != nil {
		t.Fatal(err)
	}
	if len(j.lines) != 1 || j.lines[0].Dropped != size {
		t.Errorf("lines are %+v", j.lines)
	}
}

// 100 MB while they are written: every byte, in order.
func TestAHundredMegabytesPass(t *testing.T) {
	j, f := newJob(t), newFollower(t)
	const total = 100 << 20
	go func() {
		defer close(j.done)
		file, err := os.OpenFile(filepath.Join(j.dir, "stdout"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer file.Close()
		w := bufio.NewWriterSize(file, 1<<20)
		for i := range total / 100 {
			fmt.Fprintf(w, "%099d\n", i)
		}
		if err := w.Flush(); err != nil {
			t.Error(err)
		}
	}()

	next, want := 0, make([]byte, 0, 100)
	begun := time.Now()
	err := f.Follow(context.Background(), Files{Dir: j.dir, Done: j.done}, func(lines []Line) error {
		for _, line := range lines {
			if want = fmt.Appendf(want[:0], "%099d", next); !bytes.Equal(line.Text, want) {
				return fmt.Errorf("line %d is %q", next, line.Text)
			}
			next++
		}
		return nil
	})
	if err != nil || next != total/100 {
		t.Fatalf("%d lines of %d, %v", next, total/100, err)
	}
	t.Logf("100 MB in %v", time.Since(begun))
}

// 200 idle jobs, 400 files: what a follower holds is measured, but for stacks:
// how large those begin is the runtime's decision, made from what all
// goroutines needed before.
func TestAnIdleJobIsCheap(t *testing.T) {
	const jobs, most = 200, overhead * (5 << 10)
	f := newFollower(t)
	var dirs []string
	for range jobs {
		dirs = append(dirs, newJob(t).dir)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var group, looked sync.WaitGroup
	before := held()
	for _, dir := range dirs {
		// A first line shows that Follow has caught up and sleeps again.
		if err := os.WriteFile(filepath.Join(dir, "stdout"), []byte("x\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		looked.Add(1)
		group.Go(func() {
			f.Follow(ctx, Files{Dir: dir}, func([]Line) error { looked.Done(); return nil })
		})
	}
	looked.Wait()
	each := (held() - before) / jobs
	cancel()
	group.Wait()

	t.Logf("%d bytes for each idle job", each)
	if each > most {
		t.Errorf("an idle job holds %d bytes, at most %d are allowed", each, most)
	}
	if len(f.waiting) != 0 {
		t.Errorf("%d watches are left", len(f.waiting))
	}
}

func held() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// When the kernel's queue overflowed nobody knows whose events were lost.
func TestAfterAnOverflowEverybodyLooks(t *testing.T) {
	f := newFollower(t)
	woken := make(chan struct{}, 1)
	stop, err := f.watch(newJob(t).dir, woken)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()

	overflow := make([]byte, unix.SizeofInotifyEvent)
	copy(overflow, []byte{0xff, 0xff, 0xff, 0xff, 0, unix.IN_Q_OVERFLOW >> 8, 0, 0})
	f.tell(overflow)

	select {
	case <-woken:
	default:
		t.Error("nobody was woken")
	}
}

func TestTwoFollowTheSameJob(t *testing.T) {
	j, f := newJob(t), newFollower(t)
	first, second := make(chan struct{}, 1), make(chan struct{}, 1)
	stopFirst, err := f.watch(j.dir, first)
	if err != nil {
		t.Fatal(err)
	}
	stopSecond, err := f.watch(j.dir, second)
	if err != nil {
		t.Fatal(err)
	}
	defer stopSecond()

	stopFirst() // must not take the other's watch away
	j.write("stdout", "x")
	select {
	case <-second:
	case <-time.After(limit):
		t.Error("the second was not woken")
	}
	if len(first) != 0 {
		t.Error("the first was woken after it stopped")
	}
}

func TestClosingEndsFollowing(t *testing.T) {
	j, f := newJob(t), newFollower(t)
	j.write("stdout", "x\n")
	result := make(chan error, 1)
	go func() { result <- f.Follow(context.Background(), Files{Dir: j.dir}, j.emit) }()
	j.await("x")

	f.Close()
	if err := <-result; !errors.Is(err, ErrClosed) {
		t.Errorf("error is %v, want ErrClosed", err)
	}
	if err := j.followOnce(f, j.emit); !errors.Is(err, ErrClosed) {
		t.Errorf("after closing the error is %v, want ErrClosed", err)
	}
}

func TestAJobWithoutFilesIsNamed(t *testing.T) {
	err := newFollower(t).Follow(context.Background(), Files{Dir: t.TempDir()}, nil)
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "stdout") {
		t.Errorf("error is %v", err)
	}
}

func TestTailShowsTheEnd(t *testing.T) {
	j := newJob(t)
	j.write("stdout", "one\ntwo\nthree\nfour")
	j.write("stderr", "oops\n")

	lines, err := Tail(j.dir, 2)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, line := range lines {
		got = append(got, line.Stream+" "+string(line.Text))
	}
	if want := []string{"stdout three", "stdout four", "stderr oops"}; !slices.Equal(got, want) {
		t.Errorf("tail is %q, want %q", got, want)
	}
}

// The tail of a file that is longer than Tail looks back: whole lines only,
// and nothing of it counts as lost.
func TestTailLooksBackSoFar(t *testing.T) {
	j := newJob(t)
	j.write("stdout", strings.Repeat(strings.Repeat("x", 998)+"\n", 2*TailMax/999))

	lines, err := Tail(j.dir, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	if len(lines) != TailMax/999 {
		t.Errorf("%d lines, want %d", len(lines), TailMax/999)
	}
	for _, line := range lines {
		if len(line.Text) != 998 || line.Dropped != 0 {
			t.Fatalf("a line of %d bytes, %d dropped", len(line.Text), line.Dropped)
		}
	}
}

// The file is punched out while it is read: each line comes whole, in order,
// and what came and what was lost make up what was written, to the byte.
func TestPunchingWhileReadingLosesNoCount(t *testing.T) {
	j, f := newJob(t), newFollower(t)
	const total, keep, size = 200_000, 64 << 10, 50
	go func() {
		defer close(j.done)
		for written := 0; written < total; written += total / 100 {
			var text bytes.Buffer
			for i := range total / 100 {
				fmt.Fprintf(&text, "%049d\n", written+i)
			}
			j.write("stdout", text.String())
			if old := (written*size - keep) &^ 4095; old > 0 {
				punch(t, j.dir, int64(old))
			}
		}
	}()

	sum, last := int64(0), -1
	err := f.Follow(context.Background(), Files{Dir: j.dir, Done: j.done}, func(lines []Line) error {
		for _, line := range lines {
			var number int
			if _, err := fmt.Sscanf(string(line.Text), "%d", &number); err != nil || len(line.Text) != size-1 {
				return fmt.Errorf("line %q is torn", line.Text)
			}
			if number <= last {
				return fmt.Errorf("line %d after %d", number, last)
			}
			sum, last = sum+size+line.Dropped, number
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if sum != total*size || last != total-1 {
		t.Errorf("lines and losses make %d bytes of %d, last line %d", sum, total*size, last)
	}
}
