package box

import (
	"strings"
	"testing"
	"time"
)

// Whoever is inside chooses what lies there: nothing of it makes the reader wait,
// leads it out, or has it swallow more than it wants.
func TestWhatIsReadIsAPlainFileOfTheContainers(t *testing.T) {
	c := newCopies(t)
	c.run(vcap, `cd /home/vcap && mkdir -p app && echo '{"state":"RUNNING"}' > app/state && ln -s app/state link &&
		ln -s /home/vcap/app/state absolute && ln -s ../../../../../../home/vcap/app/state climbing && mkfifo pipe &&
		truncate -s 1T huge && ln -s /dev/zero zero && ln -s /proc/kmsg kmsg && ln -s /proc/self/environ environ &&
		ln -s /proc/1/root/etc/shadow magic && ln -s loop loop && ln -s pipe piped && head -c 101 /dev/zero > more &&
		head -c 100 /dev/zero > most && python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")' || true`)
	for _, path := range []string{"app/state", "link", "absolute", "climbing", "most"} {
		content, err := c.b.Read(t.Context(), c.spec.ID, path, 100)
		if err != nil || path != "most" && string(content) != "{\"state\":\"RUNNING\"}\n" {
			t.Errorf("%s: %q, %v", path, content, err)
		}
	}
	for path, want := range map[string]string{
		"pipe": "neither a file", "piped": "neither a file", "app": "is a directory", "huge": "longer than 100 bytes",
		"more": "longer than 100 bytes", "zero": "elsewhere", "kmsg": "elsewhere", "environ": "no such file", "magic": "too many levels",
		"loop": "too many levels", "gone": "no such file", "/dev/null": "no such file", "app/state/x": "not a directory",
		"../../../../../../../../etc/machine-id": "no such file", // there is none inside
	} {
		started := time.Now()
		content, err := c.b.Read(t.Context(), c.spec.ID, path, 100)
		if err == nil || !strings.Contains(err.Error(), want) || len(content) > 0 {
			t.Errorf("%s: %q, %v; want one with %q", path, content, err, want)
		}
		if took := time.Since(started); took > 5*time.Second {
			t.Errorf("%s: took %s", path, took)
		}
	}
}
