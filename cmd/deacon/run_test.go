package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deacon-agent/deacon/messaging"
)

func TestAnApplicationIsCalledAfterWhatItIs(t *testing.T) {
	for _, c := range []struct {
		options runOptions
		want    string
	}{
		{runOptions{source: "examples/python/"}, "python"},
		{runOptions{source: "/tmp/hello world.tar.gz"}, "hello-world"},
		{runOptions{source: "https://example.org/blobs/app.tgz"}, "app"},
		{runOptions{arguments: []string{"/usr/bin/python3", "-m", "http.server"}}, "python3"},
		{runOptions{arguments: []string{"while sleep 1; do date; done"}}, "while"},
		{runOptions{source: "."}, "deacon"}, // this package's folder
		{runOptions{arguments: []string{" "}}, ""},
		{runOptions{arguments: []string{"[ -e x ]"}}, ""},
	} {
		if got := c.options.derivedName(); got != c.want {
			t.Errorf("%q %q: got %q, want %q", c.options.source, c.options.arguments, got, c.want)
		}
	}
}

func TestAWorkerHasNoRouteUnlessOneIsGiven(t *testing.T) {
	for _, c := range []struct {
		options runOptions
		worker  bool
		want    string
	}{
		{runOptions{name: "Hello"}, false, "hello.localhost"},
		{runOptions{name: "Hello"}, true, ""},
		{runOptions{name: "Hello", noRoute: true}, false, ""},
		{runOptions{name: "Hello", uris: []string{"a.example"}}, true, "a.example"},
	} {
		got := ""
		if routes := c.options.routes(c.worker); len(routes) > 0 {
			got = routes[0]
		}
		if got != c.want {
			t.Errorf("%+v: got %q, want %q", c.options, got, c.want)
		}
	}
}

func TestEndingsAreTold(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{ending("out of memory", 255, "SIGKILL"), "out of memory (SIGKILL)"},
		{ending("app instance exited", 7, ""), "app instance exited (status 7)"},
		{ending("failed to start", -1, ""), "failed to start"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestWhatHelpsDependsOnTheEnd(t *testing.T) {
	l := &launch{}
	for _, c := range []struct {
		end    messaging.InstanceChanged
		code   int
		remedy string
	}{
		{messaging.InstanceChanged{Description: neverAccepted, ExitStatus: -1}, exitTimeout, "--no-route"},
		{messaging.InstanceChanged{Description: "app instance exited"}, exitCrashed, "--no-route"},
		{messaging.InstanceChanged{Description: "app instance exited", ExitStatus: 7}, exitCrashed, "last words"},
	} {
		if code, remedy := l.whatHelps(c.end); code != c.code || !strings.Contains(remedy, c.remedy) {
			t.Errorf("%+v: got %d, %q; want %d, %q", c.end, code, remedy, c.code, c.remedy)
		}
	}
}

func TestADropletIsKnownByItsBeginning(t *testing.T) {
	var tape bytes.Buffer
	archive := tar.NewWriter(&tape)
	if err := errors.Join(archive.WriteHeader(&tar.Header{Name: "app"}), archive.Close()); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "file")
	for text, want := range map[string]bool{
		"": false, "web: ./start\n": false, "\x1f": false, strings.Repeat("\x00x", 600): false,
		"\x1f\x8b\x08": true, "\x28\xb5\x2f\xfd": true, tape.String(): true,
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := checkArchive(name); (err == nil) != want {
			t.Errorf("%.20q: error is %v", text, err)
		}
	}
}

// The DEA calls every end that nobody ordered a crash; of a worker that ended
// with 0 the command line knows better.
func TestOnlyAWorkerMayEndByItself(t *testing.T) {
	worker := &launch{options: runOptions{noRoute: true}, bits: &bits{}}
	web := &launch{options: runOptions{name: "x"}, bits: &bits{}}
	done := messaging.InstanceChanged{To: messaging.Crashed, ExitStatus: 0}
	killed := messaging.InstanceChanged{To: messaging.Crashed, ExitStatus: 255, Signal: "SIGSEGV"}
	stopped := messaging.InstanceChanged{To: messaging.Stopped, ExitStatus: 143}
	for _, c := range []struct {
		launch *launch
		end    messaging.InstanceChanged
		want   bool
	}{{worker, done, true}, {web, done, false}, {worker, killed, false}, {web, stopped, true}} {
		if got := c.launch.isDone(c.end); got != c.want {
			t.Errorf("%+v: got %t", c.end, got)
		}
	}
}
