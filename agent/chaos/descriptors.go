package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

var noDescriptors = Fault{
	Name: "no-descriptors", Harm: Nobody, For: 5 * time.Second,
	Does:      "the agent's limit of file descriptors is lowered to what it has open: it can open nothing more",
	Heals:     "the limit is what it was",
	Available: always,
	Inject: func(_ context.Context, n *Node, _ Order) (Injection, error) {
		open, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			return Injection{}, err
		}
		var was unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
			return Injection{}, err
		}
		tight := unix.Rlimit{Cur: uint64(len(open)), Max: was.Max}
		if tight.Cur >= was.Cur {
			return Injection{}, errors.New("the limit is as low already")
		}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &tight); err != nil {
			return Injection{}, err
		}
		var once sync.Once
		return Injection{
			Note: fmt.Sprintf("%d of %d", tight.Cur, was.Cur),
			Heal: func(context.Context) (err error) {
				once.Do(func() { err = unix.Setrlimit(unix.RLIMIT_NOFILE, &was) })
				return err
			},
		}, nil
	},
}
