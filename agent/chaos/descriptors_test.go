package chaos

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// limitedTest says to this program that it was started with a low limit, which
// the runtime raises for itself and gives back to what it starts.
const limitedTest = "DEACON_TEST_LIMITED"

func TestNothingCanBeOpenedWhereDescriptorsAreUsedUp(t *testing.T) {
	if os.Getenv(limitedTest) == "" {
		again := exec.Command("sh", "-c", `ulimit -Sn 500 && exec "$0" -test.run='^'"$1"'$'`, os.Args[0], t.Name())
		again.Env = append(os.Environ(), limitedTest+"=yes")
		if out, err := again.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	before := childsLimit(t)
	var files []*os.File
	for range 20 {
		file, err := os.Open("/dev/null")
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	for _, file := range files[:10] { // leave room below the highest
		file.Close()
	}
	done, err := noDescriptors.Inject(t.Context(), nil, Order{})
	if err != nil {
		t.Fatal(err)
	}
	file, opened := os.Open("/dev/null")
	for range 2 { // healing may be repeated
		if err := done.Heal(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if !errors.Is(opened, unix.EMFILE) {
		t.Errorf("opened %v, %v", file, opened)
	}
	if after := childsLimit(t); after != before {
		t.Errorf("programs are started with a limit of %s, and it was %s", after, before)
	}
	for _, file := range files[10:] {
		file.Close()
	}
}

func childsLimit(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", "ulimit -Sn").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
