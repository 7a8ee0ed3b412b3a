package rootfs

import (
	"fmt"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Names are what a container calls itself and whom it asks for others' names.
type Names struct {
	Hostname string
	Address  netip.Addr
	DNS      []netip.Addr // none: the stack's own resolv.conf stays
}

// WriteNames writes /etc/hostname, /etc/hosts and /etc/resolv.conf into the upper folder of
// the container whose root is uid. Without its own name in there, a program
// that looks itself up (Python's http.server does) waits for a resolver.
func WriteNames(upper *os.File, uid uint32, n Names) error {
	dir := int(upper.Fd())
	if err := unix.Mkdirat(dir, "etc", 0o755); err != nil && err != unix.EEXIST {
		return fmt.Errorf("rootfs: make /etc: %w", err)
	}
	if err := unix.Fchownat(dir, "etc", int(uid), int(uid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("rootfs: own /etc: %w", err)
	}
	hosts := "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"
	if n.Address.IsValid() && n.Hostname != "" {
		hosts += n.Address.String() + " " + n.Hostname + "\n"
	}
	if err := writeAt(dir, "etc/hosts", hosts, uid); err != nil {
		return err
	}
	if n.Hostname != "" {
		if err := writeAt(dir, "etc/hostname", n.Hostname+"\n", uid); err != nil {
			return err
		}
	}
	if len(n.DNS) == 0 {
		return nil
	}
	return writeAt(dir, "etc/resolv.conf", resolvConf(n.DNS), uid)
}

func resolvConf(dns []netip.Addr) string {
	var text strings.Builder
	for _, server := range dns {
		fmt.Fprintf(&text, "nameserver %s\n", server)
	}
	return text.String()
}

func writeAt(dir int, name, text string, uid uint32) error {
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(dir, name, flags, 0o644)
	if err != nil {
		return fmt.Errorf("rootfs: make /%s: %w", name, err)
	}
	file := os.NewFile(uintptr(fd), name)
	defer file.Close()
	if _, err := file.WriteString(text); err != nil {
		return fmt.Errorf("rootfs: write /%s: %w", name, err)
	}
	// Past the agent's umask, and owned by the container's root.
	if err := file.Chmod(0o644); err != nil {
		return fmt.Errorf("rootfs: /%s: %w", name, err)
	}
	if err := file.Chown(int(uid), int(uid)); err != nil {
		return fmt.Errorf("rootfs: /%s: %w", name, err)
	}
	return nil
}
