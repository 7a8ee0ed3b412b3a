package packages

import (
	"bytes"
	"debug/elf"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

const version = "1.2.3"

// build makes one package of this tree, as the Makefile does.
func build(t *testing.T, format string) []byte {
	t.Helper()
	folder := t.TempDir()
	work := t.TempDir()
	shipped, err := os.ReadFile(filepath.Join(rig.Root(), "config.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(work, "config.hcl"), shipped, 0o644); err != nil { // a link would be packed as one
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(rig.Root(), "packaging"), filepath.Join(work, "packaging")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Dir(rig.Binary(t, "deacon")), filepath.Join(work, "bin")); err != nil {
		t.Fatal(err)
	}
	rig.Binary(t, "deacon-init")
	nfpm := exec.Command("go", "tool", "-modfile="+filepath.Join(rig.Root(), "tools/go.mod"), "-n", "nfpm")
	nfpm.Dir = rig.Root()
	tool, err := nfpm.Output()
	if err != nil {
		t.Fatal("where is nfpm:", err)
	}
	cmd := exec.Command(strings.TrimSpace(string(tool)), "package", "-f", "packaging/nfpm.yaml", "-p", format, "-t", folder)
	cmd.Dir, cmd.Env = work, append(os.Environ(), "ARCH="+runtime.GOARCH, "VERSION="+version)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("nfpm: %v\n%s", err, out)
	}
	made, _ := filepath.Glob(folder + "/*")
	if len(made) != 1 {
		t.Fatalf("made %q", made)
	}
	body, err := os.ReadFile(made[0])
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// expectFiles holds what is installed to what a node needs, whatever packs it.
func expectFiles(t *testing.T, files map[string]entry) {
	t.Helper()
	for name, mode := range map[string]fs.FileMode{
		"/usr/lib/deacon/deacon": 0o755, "/usr/lib/deacon/deacon-init": 0o755, "/etc/deacon/config.hcl": 0o640,
		"/usr/lib/systemd/system/deacon.service": 0o644, "/usr/share/deacon/grafana/deacon.json": 0o644,
	} {
		one, ok := files[name]
		if !ok || one.mode != mode || len(one.body) == 0 {
			t.Errorf("%s: there %t, mode %s, %d bytes; want mode %s", name, ok, one.mode, len(one.body), mode)
		}
	}
	if link := files["/usr/bin/deacon"]; link.mode&fs.ModeSymlink == 0 || link.link != "/usr/lib/deacon/deacon" {
		t.Errorf("/usr/bin/deacon is %s and leads to %q", link.mode, link.link)
	}
	for _, program := range []string{"/usr/lib/deacon/deacon", "/usr/lib/deacon/deacon-init"} {
		file, err := elf.NewFile(bytes.NewReader(files[program].body))
		if err != nil {
			t.Errorf("%s: %v", program, err)
			continue
		}
		if needed, _ := file.ImportedLibraries(); len(needed) > 0 {
			t.Errorf("%s needs %q of the machine", program, needed)
		}
	}
	shipped, err := os.ReadFile(filepath.Join(rig.Root(), "config.hcl"))
	if err != nil || !bytes.Equal(files["/etc/deacon/config.hcl"].body, shipped) {
		t.Errorf("the configuration is not the shipped one: %v", err)
	}
	for name, one := range files {
		if !one.mode.IsDir() && !slices.ContainsFunc([]string{"/usr/", "/etc/deacon/"}, func(top string) bool {
			return strings.HasPrefix(name, top)
		}) {
			t.Errorf("%s is nothing that this package may bring", name)
		}
	}
}

// expectScript wants what a script is there for, and that a shell understands it.
func expectScript(t *testing.T, what, script, want string) {
	t.Helper()
	if !strings.Contains(script, want) {
		t.Errorf("%s does not say %q:\n%s", what, want, script)
	}
	shell := exec.Command("sh", "-n")
	shell.Stdin = strings.NewReader(script)
	if out, err := shell.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", what, err, out)
	}
}

func TestTheDebHasWhatANodeNeeds(t *testing.T) {
	control, data, err := unpackDeb(build(t, "deb"))
	if err != nil {
		t.Fatal(err)
	}
	expectFiles(t, data)
	about := string(control["/control"].body)
	for _, line := range []string{"Package: deacon\n", "Version: " + version + "\n", "Recommends: btrfs-progs\n"} {
		if !strings.Contains(about, line) {
			t.Errorf("no %q in\n%s", line, about)
		}
	}
	if got := strings.TrimSpace(string(control["/conffiles"].body)); got != "/etc/deacon/config.hcl" {
		t.Errorf("the files that an administrator changes are %q", got)
	}
	for name, want := range map[string]string{
		"/preinst": "/run/deacon-install", "/postinst": "systemctl try-restart deacon", "/prerm": "--shutdown",
		"/postrm": "rm -rf --one-file-system /var/lib/deacon",
	} {
		if control[name].mode.Perm()&0o111 == 0 {
			t.Errorf("%s can't be run", name)
		}
		expectScript(t, name, string(control[name].body), want)
	}
}

func TestTheRPMHasWhatANodeNeeds(t *testing.T) {
	about, data, err := unpackRPM(build(t, "rpm"))
	if err != nil {
		t.Fatal(err)
	}
	expectFiles(t, data)
	if got := about.text(tagVersion); got != version {
		t.Errorf("the version is %q", got)
	}
	at := slices.Index(about.texts(tagBaseName), "config.hcl")
	if at < 0 || about.number(tagFlags, at) != configFlag|noReplace {
		t.Errorf("config.hcl, file %d, is replaced by an upgrade", at)
	}
	for tag, want := range map[uint32]string{
		tagPrein: "mkdir", tagPostin: "systemctl try-restart deacon", tagPreun: "--shutdown", tagPostun: "daemon-reload",
	} {
		expectScript(t, "script "+about.text(tag)[:20], about.text(tag), want)
	}
}

// The unit does what applications' lives hang on.
func TestTheUnitLeavesApplicationsAlone(t *testing.T) {
	unit, err := os.ReadFile(filepath.Join(rig.Root(), "packaging/deacon.service"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"KillMode=process", "Type=notify", "Restart=on-failure", "ExecStart=/usr/bin/deacon agent -c /etc/deacon/config.hcl",
	} {
		if !slices.Contains(strings.Split(string(unit), "\n"), line) {
			t.Errorf("the unit has no line %s", line)
		}
	}
}

func TestWhatIsNoPackageIsAnError(t *testing.T) {
	rpm := append([]byte{0xed, 0xab, 0xee, 0xdb}, make([]byte, 92)...)
	long := append(slices.Clone(rpm), 0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0)
	for _, body := range [][]byte{nil, []byte("x"), rpm, long, append(slices.Clone(rpm), "no header at all"...)} {
		if _, _, err := unpackRPM(body); err == nil {
			t.Errorf("%q is an rpm", body)
		}
	}
	for _, body := range []string{"", "!<arc", "!<arch>\ncontrol.tar.gz  0           0     0     100644  9999999   `\n"} {
		if _, _, err := unpackDeb([]byte(body)); err == nil && body != "!<arch>\n" {
			t.Errorf("%q is a deb", body)
		}
	}
	if _, err := unpackCPIO([]byte("070701")); err == nil {
		t.Error("a few bytes are a cpio archive")
	}
}
