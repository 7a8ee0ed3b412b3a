package chaos

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Of the memory that is available only a part is taken, or the kernel's choice
// of whom to kill would be what is tested.
const (
	memoryPart = 4
	memoryMost = 1 << 30
)

var memoryPressure = Fault{
	Name: "memory-pressure", Harm: Nobody, For: 10 * time.Second, Takes: []string{"size"},
	Does: "\"size\" bytes of memory are held (a quarter of what is available, 1 GiB at most); " +
		"never more than half of what is available",
	Heals:     "it is given back",
	Available: always,
	Inject: func(_ context.Context, n *Node, o Order) (Injection, error) {
		available, err := availableMemory()
		if err != nil {
			return Injection{}, err
		}
		size := o.Size
		if size == 0 {
			size = min(available/memoryPart, memoryMost)
		}
		if size > available/2 {
			return Injection{}, unableError(fmt.Sprintf("%d MiB is more than half of the %d MiB that are available",
				size>>20, available>>20))
		}
		held, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE,
			unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
		if err != nil {
			return Injection{}, fmt.Errorf("hold %d MiB: %w", size>>20, err)
		}
		var once sync.Once
		return Injection{
			Note: fmt.Sprintf("%d MiB", size>>20),
			Heal: func(context.Context) (err error) {
				once.Do(func() { err = unix.Munmap(held) })
				return err
			},
		}, nil
	},
}

func availableMemory() (int64, error) {
	body, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(body)) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/meminfo doesn't say what is available")
}
