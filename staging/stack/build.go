package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Build is what debootstrap is to make. What is empty is the machine's own, or
// debootstrap's.
type Build struct {
	Suite    string // "bookworm", "noble"
	Mirror   string // URL
	Packages []string
	Variant  string // "minbase", "buildd"; empty: debootstrap's largest
	Keyring  string // file; empty: what the machine's source is signed by
	Cache    string // folder in which packages are kept for the next time; empty: none is
	Progress func(line string)
}

// Where the machine says what it is.
const (
	aptFolder   = "/etc/apt"
	osRelease   = "/etc/os-release"
	debootstrap = "debootstrap"
)

// The forms of what is handed to a shell script.
var (
	suiteForm   = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,63}$`)
	packageForm = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]{1,127}$`)
)

// Build makes a stack of a distribution's packages, by debootstrap.
func (s *Store) Build(ctx context.Context, name string, o Build) (Manifest, error) {
	m, err := s.build(ctx, name, o)
	if err != nil {
		return m, fmt.Errorf("stack: build %s: %w", name, err)
	}
	return m, nil
}

func (s *Store) build(ctx context.Context, name string, o Build) (Manifest, error) {
	p, keys, err := o.plan()
	if err != nil {
		return Manifest{}, err
	}
	program, err := find(debootstrap, "/usr/sbin/"+debootstrap) // where a user's PATH may not lead
	if err != nil {
		return Manifest{}, err
	}
	if o.Cache != "" {
		if o.Cache, err = filepath.Abs(o.Cache); err == nil {
			err = os.MkdirAll(o.Cache, 0o755)
		}
		if err != nil {
			return Manifest{}, err
		}
	}
	m := Manifest{Name: name, Source: o.source(p)}
	return s.produce(ctx, m, func(w *workshop, m *Manifest) error {
		o.Progress(m.Source)
		if p.note != "" {
			o.Progress(p.note)
		}
		arguments, err := w.arguments(o, p, keys)
		if err != nil {
			return err
		}
		if err := w.bootstrap(ctx, program, arguments, o.Progress); err != nil {
			return err
		}
		return w.fill(m, o.Progress, func(tree *writer) error { return tree.clean() })
	})
}

// find returns the first program that is there.
func find(names ...string) (string, error) {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", &MissingError{names[0], "install it: apt-get install " + names[0]}
}

// plan looks at what was asked, and asks the machine for the rest.
func (o Build) plan() (plan, []byte, error) {
	if o.Suite != "" && !suiteForm.MatchString(o.Suite) {
		return plan{}, nil, &ValueError{"suite", o.Suite}
	}
	if o.Variant != "" && !suiteForm.MatchString(o.Variant) {
		return plan{}, nil, &ValueError{"variant", o.Variant}
	}
	for _, name := range o.Packages {
		if !packageForm.MatchString(name) {
			return plan{}, nil, &ValueError{"package", name}
		}
	}
	sources, err := readSources(aptFolder)
	if err != nil {
		return plan{}, nil, err
	}
	p, err := chooseSource(sources, readRelease(osRelease), o.Suite, o.Mirror)
	if err != nil {
		return p, nil, err
	}
	if o.Keyring != "" {
		p.from = source{at: "the keyring", signedBy: []string{o.Keyring}}
	}
	keys, err := p.from.keyring()
	return p, keys, err
}

// source says in words what is made.
func (o Build) source(p plan) string {
	text := fmt.Sprintf("debootstrap of %s from %s", p.suite, p.mirror)
	if o.Variant != "" {
		text += ", variant " + o.Variant
	}
	if len(o.Packages) > 0 {
		text += ", with " + strings.Join(o.Packages, ", ")
	}
	return text
}

func (w *workshop) arguments(o Build, p plan, keys []byte) ([]string, error) {
	// Without it debootstrap goes on where it has no keys to check by.
	arguments := []string{"--force-check-gpg"}
	if len(keys) > 0 {
		file := w.file("keyring.gpg")
		if err := os.WriteFile(file, keys, 0o644); err != nil {
			return nil, err
		}
		arguments = append(arguments, "--keyring="+file)
	}
	for option, value := range map[string]string{
		"variant": o.Variant, "include": strings.Join(o.Packages, ","), "cache-dir": o.Cache,
		"components": strings.Join(slices.DeleteFunc(slices.Clone(p.from.components), isNonFree), ","),
	} {
		if value != "" {
			arguments = append(arguments, "--"+option+"="+value)
		}
	}
	return append(arguments, p.suite, w.tree(), p.mirror), nil
}

// isNonFree says of a component that it isn't taken over from the machine: what
// is in there is firmware and drivers.
func isNonFree(component string) bool { return strings.HasPrefix(component, "non-free") }

// wordsMax is how many lines of a log an error shows.
const wordsMax = 12

// bootstrap runs debootstrap in namespaces of its own, as PID 1 there: whatever
// it mounts and starts is gone with it, and it goes with us. It holds the
// folder's lock too, so that nobody takes it for abandoned while one of its
// processes lives.
func (w *workshop) bootstrap(ctx context.Context, program string, arguments []string, progress func(string)) error {
	log, err := os.OpenFile(w.file(logName), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	lines := &phases{log: log, progress: progress}
	run := exec.CommandContext(ctx, program, arguments...)
	run.Stdout, run.Stderr, run.Env = lines, lines, environment()
	run.ExtraFiles = []*os.File{w.lock}
	run.WaitDelay = 10 * time.Second
	run.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID, Unshareflags: unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL,
	}
	// The signal is sent when the thread ends that started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err = run.Run()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err == nil {
		return nil
	}
	return w.keepLog(err)
}

// environment is what debootstrap and the packages' own scripts see.
func environment() []string {
	variables := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=/root",
		"DEBIAN_FRONTEND=noninteractive", "DEBCONF_NONINTERACTIVE_SEEN=true",
		// A tree that isn't whole is thrown away, and a whole one is synced at
		// once: dpkg needn't wait for the disk after every file.
		"DPKG_FORCE=unsafe-io",
	}
	for _, name := range []string{"http_proxy", "https_proxy", "ftp_proxy", "no_proxy"} {
		if value, set := os.LookupEnv(name); set {
			variables = append(variables, name+"="+value)
		}
	}
	return variables
}

// keepLog moves the log out of what is removed now.
func (w *workshop) keepLog(failed error) error {
	kept := filepath.Join(w.store.dir, logPrefix+w.name)
	content, err := os.ReadFile(w.file(logName))
	if err == nil {
		err = os.WriteFile(kept, content, 0o600)
	}
	if err != nil {
		return errors.Join(failed, fmt.Errorf("keep its log: %w", err))
	}
	return &BuildError{Err: failed, Words: lastLines(content, wordsMax), Log: kept}
}

func lastLines(text []byte, most int) string {
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return "  " + strings.Join(lines[max(0, len(lines)-most):], "\n  ")
}

// phases is debootstrap's output on its way into the log: what a person wants to
// know of it is which part of the work it is at, and that it moves.
type phases struct {
	log      io.Writer
	progress func(string)
	rest     []byte // of a line that isn't whole
	phase    string
	count    int
	told     time.Time
}

// tellEvery is how often a phase that goes on is told of.
const tellEvery = 5 * time.Second

// phaseForm is a line about one package: "I: Configuring libc6..."
var phaseForm = regexp.MustCompile(
	`^I: (Retrieving|Validating|Extracting|Unpacking|Configuring) (\S+?)(?:\.\.\.)?(?: .*)?$`)

func (p *phases) Write(text []byte) (int, error) {
	p.rest = append(p.rest, text...)
	for {
		line, rest, whole := bytes.Cut(p.rest, []byte("\n"))
		if !whole {
			break
		}
		p.rest = rest
		p.line(string(line))
	}
	return p.log.Write(text)
}

func (p *phases) line(line string) {
	parts := phaseForm.FindStringSubmatch(line)
	if parts == nil {
		if strings.HasPrefix(line, "W: ") || strings.HasPrefix(line, "E: ") {
			p.progress(line)
		}
		return
	}
	phase := strings.ToLower(parts[1])
	// Retrieving and validating take turns.
	if phase == "validating" {
		phase = "retrieving"
	}
	p.count++
	if phase != p.phase {
		p.phase, p.count, p.told = phase, 1, time.Now()
		p.progress(phase + " packages")
		return
	}
	if now := time.Now(); now.Sub(p.told) >= tellEvery {
		p.told = now
		p.progress(fmt.Sprintf("%s packages: %d, now %s", phase, p.count, parts[2]))
	}
}
