package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/messaging/warden/protocol"
	"github.com/deacon-agent/deacon/testsuite/rig"
)

// smallDisk is a folder on a file system of that size, in this test's own mount
// namespace.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "dcn-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(folder) })
	if err := unix.Mount("dcn-e2e-small", folder, "tmpfs", 0, "mode=0755,size="+size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(folder, 0); err != nil {
			t.Error("the small disk is still in use:", err)
			unix.Unmount(folder, unix.MNT_DETACH)
		}
	})
	return folder
}

// fillDisk leaves no byte of it free, until the returned function is called.
func fillDisk(t *testing.T, folder string) (free func()) {
	t.Helper()
	name := filepath.Join(folder, "ballast")
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, size := range []int{1 << 20, 4096, 1} { // what large blocks leave, small ones take
		for err = nil; err == nil; {
			_, err = file.Write(make([]byte, size))
		}
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
	}
	return func() {
		t.Helper()
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// onSmallDisk is a stage whose node has its state, areas and droplets on one.
func onSmallDisk(t *testing.T, size string) *stage {
	t.Helper()
	s := &stage{t: t, nats: rig.StartNATS(t), blobs: rig.NewDropletServer(t)}
	s.ctl = rig.NewController(t, s.nats.URL)
	s.node = rig.StartNode(t, rig.Options{NATS: s.nats.URL, State: smallDisk(t, size),
		Config: "disk { driver = \"none\" }\nintervals { advertise = \"1s\" }\nresources { disk = \"4GiB\" }\n"})
	s.meet()
	s.serve = s.blobs.Add("./app", application(t))
	return s
}

// The disk is full: what runs goes on, what ends and is stopped is told as it
// was and stays so for a successor, what can't be done fails with the reason.
// Once there is room, all can be done again.
func TestAFullDiskLosesNothingThatWasAcknowledged(t *testing.T) {
	s := onSmallDisk(t, "96m")
	offer := s.offer()
	web, dies := s.running("web", nil), s.running("dies", nil)
	s.running("stopped", nil)
	born := web.ask("/run", "sh", "cut -d' ' -f22 /proc/1/stat")
	large := s.blobs.Add("./app", application(t), rig.File{Name: "data", Body: noise(4 << 20), Mode: 0o644})
	free := fillDisk(t, s.node.State)

	s.start("late", large, nil) // its droplet has to be unpacked
	expectEnd(t, s.crashed("late", soon), -1, "failed to start")
	s.start("cached", s.serve, nil) // only its container has to be made
	expectEnd(t, s.crashed("cached", soon), -1, "failed to start")
	if n := strings.Count(s.node.Log(), "no space left on device"); n < 2 {
		t.Errorf("the agent says %d times why:\n%s", n, s.node.Log())
	}
	if half, _ := filepath.Glob(filepath.Join(s.node.State, "s", "droplets", ".fetch-*")); len(half) > 0 {
		t.Errorf("half made are %q", half)
	}
	dies.try("/exit", "code", "7")
	expectEnd(t, s.crashed("dies", soon), 7, "app instance exited")
	s.stop("stopped")
	web.ask("/")
	s.node.Kill() // within the milliseconds that the journal takes
	s.successor() // with the disk as full as it was
	s.ctl.Expect("router.register", soon, rig.With("app", "web"))
	s.ctl.ExpectNone("droplet.exited", 500*time.Millisecond, rig.With("droplet", "stopped"))
	if again, told := s.ctl.Next("droplet.exited", 10*time.Millisecond, rig.With("droplet", "dies")); told {
		expectEnd(t, again.Body, 7, "app instance exited") // twice, where it was killed in between
	}
	if now := web.ask("/run", "sh", "cut -d' ' -f22 /proc/1/stat"); now != born {
		t.Errorf("PID 1 was started at %s, and is now one of %s", born, now)
	}
	free()

	web.ask("/say", "text", "there is room again")
	s.ctl.Expect("deacon.v1.logs.web.0", soon, rig.With("text", "there is room again"))
	for app, d := range map[string]rig.Droplet{"late": large, "cached": s.serve} {
		s.start(app, d, nil)
		s.registered(app).ask("/")
		s.stop(app)
	}
	s.stop("web")
	s.atRest(offer)
}

// noise can't be compressed.
func noise(size int) []byte {
	body := make([]byte, size)
	random := rand.NewChaCha8([32]byte{})
	random.Read(body)
	return body
}

// recorded waits until the newest record of an application has text, and returns it.
func (s *stage) recorded(app, text string) (last string) {
	s.t.Helper()
	if err := insist(soon, func() error {
		content, err := os.ReadFile(filepath.Join(s.node.State, "s", "instances.journal"))
		for line := range strings.Lines(string(content)) {
			if strings.Contains(line, `"Application":"`+app+`"`) {
				last = line
			}
		}
		if err == nil && !strings.Contains(last, text) {
			err = fmt.Errorf("the newest record of %s is %s", app, last)
		}
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
	return last
}

// instanceOf is whose record it is.
func instanceOf(record string) string {
	_, rest, _ := strings.Cut(record, " ")
	id, _, _ := strings.Cut(rest, " ")
	return id
}

// Clients of Warden's read why, what they were told holds, and nothing is held of
// what could not be done.
func TestAFullDiskIsSaidToWardensClients(t *testing.T) {
	w := &wardens{t: t, socket: shortSocket(t)}
	nats := rig.StartNATS(t)
	w.node = rig.StartNode(t, rig.Options{NATS: nats.URL, State: smallDisk(t, "64m"),
		Config: fmt.Sprintf("disk { driver = \"none\" }\nwarden { socket = %q }\n", w.socket)})
	w.c = w.dial()
	handle := w.create()
	job := w.spawn(handle, "read line; exit 7") // nothing to read: it ends at once
	free := fillDisk(t, w.node.State)

	if other, err := w.c.Create(w.ctx(), &protocol.CreateRequest{}); err == nil {
		t.Errorf("on a full disk %s was created", other)
	}
	w.node.WaitLog("no space left on device", soon) // clients read Warden's own words
	// Its record may have room enough, or not: what is answered holds.
	_, refused := w.c.LimitMemory(w.ctx(),
		&protocol.LimitMemoryRequest{Handle: &handle, LimitInBytes: proto.Uint64(64 << 20)})
	if r, err := w.c.Link(w.ctx(), handle, job); err != nil || r.GetExitStatus() != 7 {
		t.Errorf("a job that ended: %v, %v", r, err)
	}
	w.node.Kill()
	w.again()
	if listed, err := w.c.List(w.ctx()); err != nil || !slices.Equal(listed, []string{handle}) {
		t.Errorf("listed are %q, %v", listed, err)
	}
	free()

	limit, err := w.c.LimitMemory(w.ctx(), &protocol.LimitMemoryRequest{Handle: &handle})
	if err != nil || (limit == 64<<20) != (refused == nil) {
		t.Errorf("the limit is %d, %v; it was answered with %v", limit, err, refused)
	}
	if status, said, _ := w.run(handle, "echo there is room"); status != 0 || said != "there is room\n" {
		t.Errorf("status %d, %q", status, said)
	}
	w.destroy(handle, w.create())
}

// seed is that of what is drawn: DEACON_SEED, or another each time. It is said,
// so that a failure can be had again.
func seed(t *testing.T) uint64 {
	t.Helper()
	drawn := rand.Uint64()
	if text := os.Getenv("DEACON_SEED"); text != "" {
		var err error
		if drawn, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("DEACON_SEED: %v", err)
		}
	}
	t.Logf("DEACON_SEED=%d", drawn)
	return drawn
}

// While no agent lives, one file of the state folder is damaged. The next agent
// starts, says what it found by its path, and whoever the file is not of never
// notices; whoever it is of runs on, or its end is told.
func TestADamagedFileHarmsNobodyElse(t *testing.T) {
	random := rand.New(rand.NewPCG(seed(t), 0))
	s := newStage(t, "")
	apps := map[string]*instance{}
	born, before := map[string]string{}, map[string]string{} // when its PID 1 began, and its record
	begin := func(app string) {
		apps[app] = s.running(app, nil)
		born[app] = apps[app].ask("/run", "sh", "cut -d' ' -f22 /proc/1/stat")
		apps[app].ask("/say", "text", "begun "+app)
		s.ctl.Expect("deacon.v1.logs."+app+".0", soon, rig.With("text", "begun "+app))
		before[app] = s.recorded(app, `"RUNNING"`)
	}
	for _, app := range []string{"one", "two", "three"} {
		begin(app)
	}
	for round, pattern := range []string{
		"node", "node.copy", "lock", "instances.journal", "instances.journal", "containers/*/spec", "containers/*/spec.new",
		"containers/*/jobs/1/offsets", "containers/*/jobs/1/stdout", "containers/*/used", "droplets/*/*", "shelf/*/*",
	} {
		s.node.Kill()
		s.ctl.Forget()
		damaged, how := s.damage(random, pattern)
		s.node.Start()
		s.meet()
		t.Logf("round %d: %s %s", round, damaged, how)
		// A journal that was cut short looks like one whose last write was never done.
		spoken := []string{"node", "node.copy", "spec", "offsets"}
		if strings.Contains(how, "flipped") {
			spoken = append(spoken, "instances.journal")
		}
		if slices.Contains(spoken, filepath.Base(damaged)) && !strings.Contains(s.node.Log(), damaged) {
			t.Errorf("the agent says nothing of %s, %s:\n%s", damaged, how, s.node.Log())
		}
		owner := containerOf(damaged)
		for app, instance := range apps {
			if now, err := instance.try("/run", "sh", "cut -d' ' -f22 /proc/1/stat"); err == nil && now == born[app] {
				continue
			}
			if owner != "" && !strings.Contains(before[app], owner) || owner == "" && filepath.Base(damaged) != "instances.journal" {
				t.Errorf("%s was harmed by %s of %s", app, how, damaged)
			}
			// The whole of its record is lost only where nothing else says that it was.
			if _, told := s.ctl.Next("droplet.exited", 5*time.Second, rig.With("droplet", app)); !told &&
				!strings.Contains(s.node.Log(), instanceOf(before[app])) {
				t.Errorf("%s is gone and nobody said it:\n%s", app, s.node.Log())
			}
			begin(app)
		}
	}
	s.ctl.Publish("dea.stop", map[string]any{"droplet": "one"})
	s.gone("one")
}

// containerOf is the container whose file it is; empty: it is the node's own.
func containerOf(path string) string {
	_, rest, found := strings.Cut(path, "/containers/")
	if !found {
		return ""
	}
	id, _, _ := strings.Cut(rest, "/")
	return id
}

// damage flips a bit of one of the files of that pattern, or cuts it short. It
// returns which, or nothing where there is none.
func (s *stage) damage(random *rand.Rand, pattern string) (path, how string) {
	s.t.Helper()
	found, err := filepath.Glob(filepath.Join(s.node.State, "s", pattern))
	if err != nil {
		s.t.Fatal(err)
	}
	found = slices.DeleteFunc(found, func(name string) bool {
		info, err := os.Lstat(name)
		return err != nil || !info.Mode().IsRegular() || info.Size() == 0
	})
	if len(found) == 0 {
		return "", "nothing"
	}
	path = found[random.IntN(len(found))]
	content, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	at := random.IntN(len(content))
	if random.IntN(2) == 0 {
		if err := os.Truncate(path, int64(at)); err != nil {
			s.t.Fatal(err)
		}
		return path, fmt.Sprintf("cut short at byte %d of %d", at, len(content))
	}
	bit := random.IntN(8)
	content[at] ^= 1 << bit
	if err := os.WriteFile(path, content, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path, fmt.Sprintf("bit %d of byte %d of %d flipped", bit, at, len(content))
}

// Where the record of an end is damaged that is said, and PID 1 is believed,
// who knows it too. Where that is dead the end is unknown, and nothing else is made of it.
func TestADamagedExitRecordIsSaidAndPID1IsBelieved(t *testing.T) {
	for _, alive := range []bool{true, false} {
		t.Run(fmt.Sprintf("PID 1 lives: %t", alive), func(t *testing.T) { damagedEnd(t, alive) })
	}
}

func damagedEnd(t *testing.T, alive bool) {
	s := newStage(t, "")
	app := s.running("web", nil)
	s.node.Kill()
	app.try("/exit", "code", "7")
	pattern := filepath.Join(s.node.State, "s", "containers", "*", "jobs", "1", "exit")
	var path string
	if err := insist(soon, func() error {
		found, _ := filepath.Glob(pattern)
		for _, name := range found {
			content, err := os.ReadFile(name)
			if err == nil && len(content) > 0 {
				content[len(content)/2] ^= 4
				path = name
				return os.WriteFile(name, content, 0o600)
			}
		}
		return errors.New("no end is on record")
	}); err != nil {
		t.Fatal(err)
	}
	status, words := 7, "app instance exited"
	if !alive {
		status, words = -1, "unknown"
		for _, pid := range s.inits("pid1") {
			unix.Kill(pid, unix.SIGKILL)
		}
	}
	s.successor()
	expectEnd(t, s.crashed("web", soon), status, words)
	if !strings.Contains(s.node.Log(), path) {
		t.Errorf("the agent says nothing of %s:\n%s", path, s.node.Log())
	}
}
