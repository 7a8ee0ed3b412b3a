package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

const withFiles = `directory {
  domain            = "apps.test"
  streaming_timeout = "3s"
}
`

// fileRouter is the way to files: it knows hosts by what nodes registered.
type fileRouter struct {
	s      *stage
	route  map[string]any // the directory server's
	client http.Client
}

func (s *stage) files() *fileRouter {
	s.t.Helper()
	seen := s.ctl.Expect("router.register", soon, has("tags", "directory-server-0"))
	r := &fileRouter{s: s, route: seen.Body}
	host := fmt.Sprint(seen.Body["uris"].([]any)[0], ":80")
	at := fmt.Sprint(seen.Body["host"], ":", int(seen.Body["port"].(float64)))
	r.client.Transport = &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if address != host {
				return nil, errors.New("no route to " + address)
			}
			return (&net.Dialer{}).DialContext(ctx, network, at)
		}}
	return r
}

// link asks the node for one, as a cloud controller does.
func (s *stage) fileLink(app, path string) string {
	s.t.Helper()
	question, err := json.Marshal(map[string]any{
		"droplet": app, "states": []string{"STARTING", "RUNNING", "CRASHED"}, "path": path,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	answer, err := s.ctl.Conn.Request("dea.find.droplet", question, soon)
	if err != nil {
		s.t.Fatal(err)
	}
	var found struct {
		Link string `json:"file_uri_v2"`
	}
	if err := json.Unmarshal(answer.Data, &found); err != nil || found.Link == "" {
		s.t.Fatalf("%s: %v", answer.Data, err)
	}
	return found.Link
}

// get is the status and the body of what a link leads to.
func (r *fileRouter) get(link string, headers ...string) (int, string) {
	r.s.t.Helper()
	answer := r.open(link, headers...)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		r.s.t.Error(err)
	}
	return answer.StatusCode, string(body)
}

func (r *fileRouter) open(link string, headers ...string) *http.Response {
	r.s.t.Helper()
	request, err := http.NewRequest(http.MethodGet, link, nil)
	if err != nil {
		r.s.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	answer, err := r.client.Do(request)
	if err != nil {
		r.s.t.Fatal(err)
	}
	return answer
}

func (r *fileRouter) expect(link string, status int, body string) {
	r.s.t.Helper()
	if gotStatus, got := r.get(link); gotStatus != status || got != body {
		r.s.t.Errorf("%s: %d %q, want %d %q", link, gotStatus, got, status, body)
	}
}

func TestTheFilesOfAnInstanceAreServed(t *testing.T) {
	s := newStage(t, withFiles)
	r := s.files()
	if len(r.route) != 4 || r.route["port"] != 5678.0 || r.route["host"] != "127.0.0.1" {
		t.Errorf("the server's route is %v", r.route)
	}
	s.start("deaf", s.blobs.Add("exec sleep 1000"), nil)
	s.ctl.Expect("deacon.v1.instance", soon, rig.With("application", "deaf"), rig.With("to", "STARTING"))
	r.expect(s.fileLink("deaf", "/"), http.StatusServiceUnavailable, `{"error":"Instance unavailable"}`)
	s.stop("deaf")

	app := s.running("web", nil)
	app.ask("/run", "sh", `cd /home/vcap; mkdir -p logs; printf '0123456789' > logs/ten; echo secret > own; chmod 0 own
		ln -s /etc/passwd passwd; ln -s /home/vcap/logs/ten absolute; ln -s ../../etc/passwd up; mkfifo pipe; ln logs/ten hard
		ln -s /proc/1/root/etc/passwd magic`)
	status, listing := r.get(s.fileLink("web", "/"))
	for _, line := range []string{
		fmt.Sprintf("%-35s %10s\n", "app/", "-"), fmt.Sprintf("%-35s %10s\n", "logs/", "-"), fmt.Sprintf("%-35s %10s\n", "hard", "10B"),
	} {
		if status != http.StatusOK || !strings.Contains(listing, line) {
			t.Errorf("%d: the listing lacks %q:\n%s", status, line, listing)
		}
	}
	t.Logf("the folder that is shown:\n%s", listing)
	for _, path := range []string{"logs/ten", "/logs/ten", "absolute", "hard"} {
		r.expect(s.fileLink("web", path), http.StatusOK, "0123456789")
	}
	for _, path := range []string{"..", "../..", "../../etc/passwd", "passwd", "up", "pipe", "own", "../../dev/null", "../../proc/1/environ"} {
		r.expect(s.fileLink("web", path), http.StatusForbidden, `{"error":"Not accessible"}`)
	}
	for _, path := range []string{"nothing", "magic", "logs/ten/x"} {
		r.expect(s.fileLink("web", path), http.StatusNotFound, `{"error":"Entity not found"}`)
	}
	ten := s.fileLink("web", "logs/ten")
	if status, got := r.get(ten, "Range", "bytes=3-5"); status != http.StatusPartialContent || got != "345" {
		t.Errorf("a range: %d %q", status, got)
	}
	r.expect(strings.Replace(ten, "hmac=", "hmac=0", 1), http.StatusUnauthorized, `{"error":"Invalid HMAC"}`)
	r.expect(strings.Replace(ten, "ten", "..%2F..", 1), http.StatusUnauthorized, `{"error":"Invalid HMAC"}`)
	r.measure(ten, app.base+"/")
	other := s.fileLink("web", "/")
	s.stop("web")
	r.expect(other, http.StatusNotFound, `{"error":"Unknown instance"}`)
	s.ctl.Forget()
	s.ctl.Publish("router.start", map[string]any{"id": "r", "hosts": []string{"127.0.0.1"}})
	s.files()
	s.node.Signal(syscall.SIGINT)
	s.ctl.Expect("router.unregister", soon, has("tags", "directory-server-0"), rig.With("port", 5678))
	s.node.WaitEnd(late)
}

// measure says what a file costs beside a page of the application's own, one
// connection each.
func (r *fileRouter) measure(link, page string) {
	r.s.t.Helper()
	const many = 200
	took := func(client *http.Client, link string) time.Duration {
		began := time.Now()
		for range many {
			answer, err := client.Get(link)
			if err != nil {
				r.s.t.Fatal(err)
			}
			io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}
		return time.Since(began) / many
	}
	r.s.t.Logf("a file of 10 bytes takes %s, a page of the application's %s", took(&r.client, link), took(&client, page))
}

func TestAFileIsFollowedWhileTheApplicationWrites(t *testing.T) {
	s := newStage(t, withFiles)
	r, app := s.files(), s.running("web", nil)
	app.ask("/run", "sh", `mkdir -p /home/vcap/logs; echo before > /home/vcap/logs/out`)
	link := s.fileLink("web", "logs/out")
	answer := r.open(link + "&tail")
	defer answer.Body.Close()
	whole := r.open(link + "&tail&tail_offset=0")
	defer whole.Body.Close()
	began := time.Now()
	for i := range 5 {
		app.ask("/run", "sh", fmt.Sprintf("echo line %d >> /home/vcap/logs/out", i))
	}
	app.ask("/run", "sh", "mv /home/vcap/logs/out /home/vcap/logs/out.1")
	want := "line 0\nline 1\nline 2\nline 3\nline 4\n"
	for _, c := range []struct {
		answer *http.Response
		want   string
	}{{answer, want}, {whole, "before\n" + want}} {
		if got, err := io.ReadAll(c.answer.Body); string(got) != c.want || err != nil {
			t.Errorf("came %q, %v", got, err)
		}
	}
	t.Logf("written, renamed and ended in %s", time.Since(began))
	app.ask("/run", "sh", `echo quiet > /home/vcap/logs/quiet`)
	quiet := r.open(s.fileLink("web", "logs/quiet") + "&tail")
	defer quiet.Body.Close()
	if got, err := io.ReadAll(quiet.Body); len(got) > 0 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("of a silent file came %q, %v", got, err)
	}
	s.stop("web")
}

func TestALinkOutlivesTheAgentThatGaveItOut(t *testing.T) {
	s := newStage(t, withFiles)
	r, app := s.files(), s.running("web", nil)
	app.ask("/run", "sh", `echo said > /home/vcap/own`)
	link := s.fileLink("web", "own")
	r.expect(link, http.StatusOK, "said\n")
	s.node.Kill()
	s.successor()
	again := s.files()
	if fmt.Sprint(again.route["uris"]) != fmt.Sprint(r.route["uris"]) {
		t.Errorf("the server was %v and is now %v", r.route["uris"], again.route["uris"])
	}
	s.ctl.Expect("router.register", soon, rig.With("app", "web")) // it is known to run
	again.expect(link, http.StatusOK, "said\n")
	// An update gives the instance another name.
	s.ctl.Publish("dea.update", map[string]any{"droplet": "web", "uris": []string{"web.example"}, "version": "next"})
	s.ctl.Expect("dea.heartbeat", soon, has("droplets", "next"))
	renamed := s.fileLink("web", "own")
	if before, _, _ := strings.Cut(link, "?"); strings.HasPrefix(renamed, before) {
		t.Errorf("after an update the link is %s", renamed)
	}
	again.expect(renamed, http.StatusOK, "said\n")
	again.expect(link, http.StatusOK, "said\n")
	s.stop("web")
}

func TestTheLogsOfACrashedInstanceAreKept(t *testing.T) {
	s := newStage(t, withFiles+"instance { crash_lifetime = \"20s\" }\n")
	r, offer := s.files(), s.offer()
	app := s.running("dies", nil)
	app.ask("/run", "sh", `mkdir -p /home/vcap/logs/sub; cd /home/vcap/logs; echo last words > out; echo more > sub/file
		ln -s /etc/passwd passwd; ln -s out link; mkfifo pipe; echo secret > locked; chmod 0 locked; echo kept > /home/vcap/app/nowhere`)
	app.try("/exit", "code", "7")
	expectEnd(t, s.crashed("dies", soon), 7, "app instance exited")
	s.atRest(map[string]any{"available_memory": offer["available_memory"], "available_disk": s.disk()})
	out := s.fileLink("dies", "logs/out")
	r.expect(out, http.StatusOK, "last words\n")
	r.expect(s.fileLink("dies", "logs/link"), http.StatusOK, "last words\n")
	r.expect(s.fileLink("dies", "logs/sub/file"), http.StatusOK, "more\n")
	r.expect(s.fileLink("dies", "/"), http.StatusOK, fmt.Sprintf("%-35s %10s\n", "logs/", "-"))
	for path, status := range map[string]int{
		"logs/passwd": 403, "..": 403, "../../containers": 403, "logs/pipe": 404, "logs/locked": 404, "app/nowhere": 404,
	} {
		if got, body := r.get(s.fileLink("dies", path)); got != status {
			t.Errorf("%s: %d %s", path, got, body)
		}
	}
	// The next agent finds them, removes what is nobody's, and forgets them in time.
	stray := filepath.Join(s.node.State, "s/crashes/0123/logs")
	if err := os.MkdirAll(stray, 0o700); err != nil {
		t.Fatal(err)
	}
	s.node.Kill()
	s.successor()
	s.files().expect(out, http.StatusOK, "last words\n")
	for deadline := time.Now().Add(2 * late); ; time.Sleep(100 * time.Millisecond) {
		left, err := os.ReadDir(filepath.Join(s.node.State, "s/crashes"))
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("there are still %v: %v", left, err)
		}
		if len(left) == 0 {
			break
		}
	}
	r.expect(out, http.StatusNotFound, `{"error":"Unknown instance"}`)
}

// disk is what the node offers once nothing runs.
func (s *stage) disk() any {
	s.t.Helper()
	return s.ctl.Expect("dea.advertise", soon).Body["available_disk"]
}

func TestTheCommandLineShowsFiles(t *testing.T) {
	s := newStage(t, withFiles)
	app := s.running("web", nil)
	app.ask("/run", "sh", `mkdir -p /home/vcap/logs; cd /home/vcap/logs; seq 1 200000 > numbers; echo hello > out`)
	work := t.TempDir()
	deacon := func(args ...string) (string, int) {
		t.Helper()
		command := exec.Command(rig.Binary(t, "deacon"), append([]string{"files"}, args...)...)
		command.Env, command.Dir = append(os.Environ(), "DEACON_NATS="+s.nats.URL), work
		out, err := command.CombinedOutput()
		if exit, is := errors.AsType[*exec.ExitError](err); err != nil && !is {
			t.Fatal(err)
		} else if is {
			return string(out), exit.ExitCode()
		}
		return string(out), 0
	}
	expect := func(want string, code int, args ...string) {
		t.Helper()
		if got, ended := deacon(args...); ended != code || !strings.Contains(got, want) {
			t.Errorf("deacon files %s: %d\n%s", strings.Join(args, " "), ended, got)
		}
	}
	expect("out                                         6B\n", 0, "ls", "web/0", "logs")
	expect(`{"name":"logs","folder":true,"size":""}`, 0, "ls", "web", "--json")
	expect("hello\n", 0, "cat", "web/0", "logs/out")
	expect("is a folder", 2, "cat", "web/0", "logs")
	expect("is a folder", 2, "cp", "web/0", "logs", "target")
	expect("is a file", 2, "ls", "web/0", "logs/out")
	expect("Entity not found", 4, "cat", "web/0", "nothing")
	expect("Not accessible", 1, "cat", "web/0", "../../etc/passwd")
	expect("has no instance with index 3", 4, "ls", "web/3")
	expect("there is no application", 4, "ls", "nobody/0")
	expect("no APP/INDEX", 2, "ls", "web/x")

	expect("", 0, "cp", "web/0", "logs/numbers", ".")
	whole, err := os.ReadFile(filepath.Join(work, "numbers"))
	if err != nil || !strings.HasSuffix(string(whole), "\n200000\n") {
		t.Fatalf("copied were %d bytes, %v", len(whole), err)
	}
	// Half of it is there, and marked so that it can be told from what comes.
	info, err := os.Stat(filepath.Join(work, "numbers.part"))
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a part is left: %v, %v", info, err)
	}
	copied, err := os.Stat(filepath.Join(work, "numbers"))
	if err != nil {
		t.Fatal(err)
	}
	half := strings.Repeat("x", len(whole)/2)
	part := filepath.Join(work, "again.part")
	if err := errors.Join(os.WriteFile(part, []byte(half), 0o644), os.Chtimes(part, copied.ModTime(), copied.ModTime())); err != nil {
		t.Fatal(err)
	}
	expect("", 0, "cp", "web/0", "logs/numbers", "again")
	if got, err := os.ReadFile(filepath.Join(work, "again")); string(got) != half+string(whole[len(whole)/2:]) {
		t.Errorf("%d bytes were gone on with, %v", len(got), err)
	}
	// Half of another version is of no use.
	if err := errors.Join(os.WriteFile(part, []byte(half), 0o644), os.Chtimes(part, time.Unix(1, 0), time.Unix(1, 0))); err != nil {
		t.Fatal(err)
	}
	expect("", 0, "cp", "web/0", "logs/numbers", "again")
	if got, err := os.ReadFile(filepath.Join(work, "again")); string(got) != string(whole) {
		t.Errorf("of another version %s bytes were used, %v", strconv.Itoa(len(got)), err)
	}
	s.stop("web")
}

func TestWithoutADirectoryBlockNothingIsServed(t *testing.T) {
	s := newStage(t, "")
	s.running("web", nil)
	answer, err := s.ctl.Conn.Request("dea.find.droplet", []byte(`{"droplet": "web", "path": "/"}`), soon)
	if err != nil || strings.Contains(string(answer.Data), "file_uri_v2") {
		t.Errorf("%s, %v", answer.Data, err)
	}
	if conn, err := net.Dial("tcp", "127.0.0.1:5678"); err == nil {
		conn.Close()
		t.Error("somebody listens where files would be served")
	}
	command := exec.Command(rig.Binary(t, "deacon"), "files", "ls", "web/0")
	command.Env = append(os.Environ(), "DEACON_NATS="+s.nats.URL)
	if out, err := command.CombinedOutput(); err == nil || !strings.Contains(string(out), "serves no files") {
		t.Errorf("%v\n%s", err, out)
	}
	s.stop("web")
}
