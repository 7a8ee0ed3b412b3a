package main

import (
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
