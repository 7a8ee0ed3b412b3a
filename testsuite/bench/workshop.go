package main

import (
	"debug/elf"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

//go:embed floor/floor.c
var floorSource []byte

//go:embed floor/ready.c
var readySource []byte

// cniFolder is where Debian keeps the plugins.
const cniFolder = "/usr/lib/cni"

// group begins the names of all cgroups that this program makes.
const group = "deacon-bench"

// workshop is what all rows share.
type workshop struct {
	folder string // temporary
	memory string // a file system of its own in memory, below folder
	rootfs string // busybox and the application
	floor  string // the bare-kernel program
	init   string // deacon-init
	deacon string // folder of deacon's programs
}

// programs are what must be here, and the Debian package that each comes from.
var programs = []struct{ name, from string }{
	{"cc", "gcc"}, {"busybox", "busybox-static"}, {"runc", "runc"}, {"crun", "crun"}, {"bwrap", "bubblewrap"},
	{cniFolder + "/bridge", "containernetworking-plugins"}, {"iptables", "iptables"}, {"mkfs.btrfs", "btrfs-progs"},
}

// newWorkshop finds what must be installed, all that is missing at once, and
// makes the rest.
func newWorkshop(s *stand) *workshop {
	var missing []error
	for _, p := range programs {
		if _, err := exec.LookPath(p.name); err != nil {
			missing = append(missing, fmt.Errorf("%s is missing: apt-get install %s", p.name, p.from))
		}
	}
	s.must(errors.Join(missing...))
	folder := s.TempDir()
	w := &workshop{
		folder: folder, memory: filepath.Join(folder, "memory"),
		rootfs: filepath.Join(folder, "rootfs"), floor: filepath.Join(folder, "floor"),
	}
	// Containers reach the root file system as users of their own.
	s.must(os.Chmod(folder, 0o711))
	s.must(os.Mkdir(w.memory, 0o711))
	s.must(unix.Mount("bench", w.memory, "tmpfs", 0, "mode=0711"))
	s.Cleanup(func() { s.must(unix.Unmount(w.memory, 0)) })
	s.must(w.makeRootfs())
	s.must(compile(floorSource, w.floor))
	w.init = rig.Binary(s, "deacon-init")
	w.deacon = filepath.Dir(w.init)
	s.Cleanup(func() {
		if os.Getenv(rig.BinariesEnv) == "" {
			os.RemoveAll(w.deacon)
		}
	})
	return w
}

// makeRootfs makes the smallest root file system that all rows can use.
func (w *workshop) makeRootfs() error {
	for _, name := range []string{"bin", "dev", "etc", "home", "proc", "root", "run", "sys", "tmp", "usr", "var"} {
		if err := os.MkdirAll(filepath.Join(w.rootfs, name), 0o755); err != nil {
			return fmt.Errorf("make the root file system: %w", err)
		}
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	if err := mustBeStatic(busybox); err != nil {
		return err
	}
	bin := filepath.Join(w.rootfs, "bin")
	if err := copyProgram(busybox, filepath.Join(bin, "busybox")); err != nil {
		return fmt.Errorf("make the root file system: %w", err)
	}
	for _, name := range []string{"sh", "true"} {
		if err := os.Symlink("busybox", filepath.Join(bin, name)); err != nil {
			return fmt.Errorf("make the root file system: %w", err)
		}
	}
	return compile(readySource, filepath.Join(bin, "ready"))
}

func mustBeStatic(program string) error {
	file, err := elf.Open(program)
	if err != nil {
		return err
	}
	defer file.Close()
	for _, part := range file.Progs {
		if part.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is not static: apt-get install busybox-static", program)
		}
	}
	return nil
}

func copyProgram(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// compile builds one C file, statically.
func compile(source []byte, program string) error {
	file := program + ".c"
	if err := os.WriteFile(file, source, 0o600); err != nil {
		return err
	}
	defer os.Remove(file)
	if out, err := exec.Command("cc", "-O2", "-static", "-o", program, file).CombinedOutput(); err != nil {
		return fmt.Errorf("cc %s: %w\n%s", filepath.Base(file), err, out)
	}
	return nil
}
