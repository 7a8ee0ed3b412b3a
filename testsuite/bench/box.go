package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/deacon-agent/deacon/isolation"
	isolationbox "github.com/deacon-agent/deacon/isolation/box"
	"github.com/deacon-agent/deacon/isolation/disk"
	"github.com/deacon-agent/deacon/isolation/network"
	"github.com/deacon-agent/deacon/isolation/slot"
)

// box is isolation/box in this process: deacon without actors and NATS.
type box struct {
	s     *stand
	box   *isolationbox.Box
	state string
	stack string
	mu    sync.Mutex
	made  uint32
}

// portFirst is slot 0's mapped port; the others follow.
const portFirst = 20_000

// vcap is who applications run as.
const vcap = 2000

func newBox(s *stand, shop *workshop) *box {
	b := &box{s: s, state: filepath.Join(shop.folder, "box"), stack: shop.rootfs}
	s.must(os.Mkdir(b.state, 0o711))
	opened, err := isolationbox.Open(isolationbox.Config{
		State: b.state, Init: shop.init,
		Plan:    slot.Plan{Tag: slot.TagOf(b.state), Pool: netip.MustParsePrefix("10.254.0.0/16"), UIDBase: 1_000_000},
		Network: network.Config{Egress: network.Allow, Loopback: true, Denied: []netip.Prefix{network.Metadata}},
		Disk:    disk.Config{PoolBytes: 4 << 30}, OutputMax: 1 << 20,
	})
	s.must(err)
	b.box = opened
	s.Cleanup(func() {
		if err := errors.Join(b.emptied(), opened.Close(), opened.Remove()); err != nil {
			s.Error(err)
		}
	})
	if _, err := opened.Recover(s.ctx); err != nil {
		s.Fatal(err)
	}
	return b
}

const boxName = "deacon box alone"

func (b *box) name() string { return boxName }

// next is a container that was never there before. Slots go round; a used one
// is released long before it comes up again.
func (b *box) next() (isolation.Spec, string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	number := b.made
	b.made++
	port := uint16(portFirst + number%containersMax)
	spec := isolation.Spec{
		ID: slot.NewID(rand.Reader), Slot: number % containersMax, Epoch: number/containersMax + 1,
		Owner: isolation.OwnerInstance, Created: time.Now(),
		Rootfs:  isolation.Rootfs{Layers: []string{b.stack}},
		Limits:  isolation.Limits{MemoryBytes: 128 << 20, CPUShares: 16, Pids: 512, DiskBytes: 64 << 20},
		Network: isolation.Network{Ports: []isolation.PortMap{{Host: port, Container: port}}},
	}
	return spec, fmt.Sprintf("127.0.0.1:%d", port)
}

func job(spec isolation.Spec, program string) *isolation.Job {
	return &isolation.Job{
		Number: 1, Argv: []string{program}, Env: []string{"PATH=/bin", fmt.Sprintf("PORT=%d", spec.Network.Ports[0].Host)},
		Dir: "/", User: isolation.User{UID: vcap, GID: vcap}, Umask: 0o077, Files: 1024, Procs: 512,
	}
}

func (b *box) trial() (t trial, err error) {
	spec, address := b.next()
	begun := now()
	status, err := b.box.Create(b.s.ctx, spec, job(spec, "/bin/ready"))
	if err != nil {
		return trial{}, err
	}
	defer func() {
		// Off the clock, and before anybody else's begins.
		err = errors.Join(err, b.away(spec.ID))
	}()
	spoke, err := b.firstByte(spec.ID)
	if err != nil {
		return trial{}, err
	}
	t = trial{firstByte: spoke.since(begun), steps: status.Steps}
	if err := answers(address); err != nil {
		return trial{}, err
	}
	inside, err := processesWith(status.InitPID)
	if err != nil {
		return trial{}, err
	}
	defer inside.close()

	asked := now()
	if err := b.box.Destroy(b.s.ctx, spec.ID); err != nil {
		return trial{}, err
	}
	if err := inside.dead(); err != nil {
		return trial{}, err
	}
	if err := refuses(address); err != nil {
		return trial{}, err
	}
	t.gone = now().since(asked)
	return t, nil
}

// away takes everything back that ids have, whatever state they are in. It
// isn't given up when the measuring is.
func (b *box) away(ids ...string) error {
	var failed error
	for _, id := range ids {
		failed = errors.Join(failed, b.box.Destroy(context.Background(), id))
	}
	return errors.Join(failed, b.box.Release(context.Background(), ids))
}

// emptied takes back whatever is still there.
func (b *box) emptied() error {
	entries, err := os.ReadDir(filepath.Join(b.state, "containers"))
	if err != nil {
		return err
	}
	var ids []string
	for _, entry := range entries {
		ids = append(ids, entry.Name())
	}
	return b.away(ids...)
}

// firstByte reads what the application wrote. Its output is a file, so it is
// looked at until it is there; when it was written is in it.
func (b *box) firstByte(id string) (moment, error) {
	output := filepath.Join(b.state, "containers", id, "jobs", "1", "stdout")
	for deadline := time.Now().Add(byteMax); time.Now().Before(deadline); time.Sleep(500 * time.Microsecond) {
		content, err := os.ReadFile(output)
		if err != nil {
			return 0, err
		}
		if line, _, whole := strings.Cut(string(content), "\n"); whole {
			return parseMoment(line)
		}
	}
	return 0, errors.New("no first byte")
}

// answers says whether the application serves its mapped port.
func answers(address string) error {
	for deadline := time.Now().Add(byteMax); ; time.Sleep(time.Millisecond) {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the mapped port doesn't answer: %w", err)
		}
	}
}

func refuses(address string) error {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	switch {
	case err == nil:
		conn.Close()
		return fmt.Errorf("%s still answers", address)
	case !errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%s doesn't refuse: %w", address, err)
	}
	return nil
}

// rate runs containers to their end. Deletions are batched, as the node does
// it; the clock stops when the last slot may be used again.
func (b *box) rate(many batch) (float64, error) {
	ended := newCollector()
	released := make(chan error, 1)
	count := 0
	go func() {
		var failed error
		for count < many.total && failed == nil {
			select {
			case <-ended.more:
			case <-b.s.ctx.Done():
				failed = b.s.ctx.Err()
			}
			ids := ended.take()
			count += len(ids)
			failed = errors.Join(failed, b.box.Release(context.Background(), ids))
		}
		released <- failed
	}()
	begun := now()
	_, err := many.run(func(int) error {
		spec, _ := b.next()
		defer ended.add(spec.ID)
		return b.toTheEnd(spec)
	})
	if err = errors.Join(err, <-released); err != nil {
		return 0, err
	}
	return float64(many.total) / now().since(begun).Seconds(), nil
}

func (b *box) toTheEnd(spec isolation.Spec) error {
	if _, err := b.box.Create(b.s.ctx, spec, job(spec, "/bin/true")); err != nil {
		return err
	}
	exit, err := b.box.Wait(b.s.ctx, spec.ID, 1)
	if err == nil && exit.Code != 0 {
		err = fmt.Errorf("true ended with %d", exit.Code)
	}
	return errors.Join(err, b.box.Destroy(context.Background(), spec.ID))
}
