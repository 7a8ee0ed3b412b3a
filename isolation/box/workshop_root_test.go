package box

import (
	"testing"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/rootfs"
)

// The way of kernels before 6.15, which any kernel can go: the first container
// brings the disk's mount to the workshop, the second finds it there.
func TestARootIsStackedInTheWorkshopOnEveryDisk(t *testing.T) {
	for _, driver := range []string{"btrfs", "tmpfs", "none"} {
		t.Run(driver, func(t *testing.T) {
			m := newMachine(t)
			m.config.Disk.Driver = driver
			b, _ := m.open()
			defer m.end(b)
			if b.workshop == nil {
				var err error
				if b.workshop, err = rootfs.OpenWorkshop(); err != nil {
					t.Fatal(err)
				}
			}
			for number := range uint32(2) {
				m.writes(b, m.spec(number))
			}
		})
	}
}

// writes expects that a container has a root and a /dev of its own.
func (m *machine) writes(b *Box, spec isolation.Spec) {
	m.t.Helper()
	job := shell(1, "test ! -e /home/vcap/x && echo gone >/dev/null && echo written >/home/vcap/x && cat /home/vcap/x")
	if _, err := b.Create(m.t.Context(), spec, job); err != nil {
		m.t.Fatal(err)
	}
	if _, err := b.Wait(m.t.Context(), spec.ID, 1); err != nil {
		m.t.Fatal(err)
	}
	if got := b.text(spec.ID, 1, stdoutFile); got != "written\n" {
		m.t.Errorf("it says %q, %q", got, b.text(spec.ID, 1, stderrFile))
	}
}
