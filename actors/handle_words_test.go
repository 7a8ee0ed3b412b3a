package actors

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// What a client reads of an error begins as it always did; the rest is the node's.
func TestFailuresAreSaidInWardensWords(t *testing.T) {
	busy := fmt.Errorf("box: limit abc: %w", unix.EBUSY)
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"limit memory": {busy, "Failed setting memory limit: Device or resource busy @ box: limit abc: device or resource busy"},
		"limit cpu":    {errors.New("no such file"), "Failed setting cpu shares: no such file"},
		"inspect":      {errors.New("no such file"), "Failed getting memory usage: no such file"},
		"limit disk":   {busy, "command exited with failure"},
		"copy in":      {errors.New("secret"), "command exited with failure"},
		"net out":      {saidError("as it is"), "as it is"},
	} {
		if got := words(name, c.err); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	for network, want := range map[string]string{
		"": "Could not acquire network", "172.31.0.9": "Could not acquire network: 172.31.0.8", "nonsense": "Could not acquire network: nonsense",
	} {
		if got := noNetworkWords(network); got != want {
			t.Errorf("%q: %q, want %q", network, got, want)
		}
	}
}
