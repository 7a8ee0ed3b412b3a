package sweep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/rootfs"
)

func bare(ctx context.Context, n *node) error { return n.create(ctx, n.spec(0), nil) }

func small(ctx context.Context, n *node) error {
	spec := n.spec(0)
	spec.Limits.MemoryBytes = 24 << 20
	return n.create(ctx, spec, nil)
}

func sleeping(ctx context.Context, n *node) error {
	if err := n.create(ctx, n.spec(0), sleeper(1)); err != nil {
		return err
	}
	return n.awaitText(ctx, n.first(), 1)
}

func withServer(ctx context.Context, n *node) error {
	if err := n.create(ctx, n.spec(0), server(1)); err != nil {
		return err
	}
	return n.awaitText(ctx, n.first(), 1)
}

// visited has connections behind it that the kernel still tracks.
func visited(ctx context.Context, n *node) error {
	if err := n.create(ctx, n.spec(0, n.port()), server(1)); err != nil {
		return err
	}
	return greeted(ctx, n.port())
}

func detachable(ctx context.Context, n *node) error {
	return errors.Join(sleeping(ctx, n), n.prepare(ctx, 1))
}

func twoEnded(ctx context.Context, n *node) error {
	err := bare(ctx, n)
	for job := range uint32(2) {
		if err == nil {
			err = n.spawn(ctx, n.first(), shell(job+1, fmt.Sprintf("echo job %d; exit %d", job+1, job+1)))
		}
		if err == nil {
			err = n.wait(ctx, n.first(), job+1)
		}
	}
	return err
}

func copied(ctx context.Context, n *node) error { return errors.Join(sleeping(ctx, n), n.copyIn(ctx)) }

// awaitText waits for a job's first word.
func (n *node) awaitText(ctx context.Context, id string, job uint32) error {
	for n.text(id, job) == "" {
		select {
		case <-ctx.Done():
			return fmt.Errorf("job %d of %s says nothing", job, id)
		case <-time.After(time.Millisecond):
		}
	}
	n.say(fact{What: wrote, ID: id, Job: job, Text: n.text(id, job)})
	return nil
}

func (n *node) prepare(ctx context.Context, places ...uint32) error {
	var wanted []uint32
	for _, place := range places {
		wanted = append(wanted, n.spec(place).Slot)
	}
	for more := true; more; {
		var err error
		if more, err = n.box.Prepare(ctx, wanted); err != nil {
			return err
		}
	}
	return nil
}

func (n *node) limit(ctx context.Context, bytes int64) error {
	n.try(fact{What: limited, ID: n.first(), Bytes: bytes})
	got, err := n.box.Limit(ctx, n.first(), isolation.LimitChange{MemoryBytes: &bytes})
	if err == nil && got.MemoryBytes != bytes {
		err = fmt.Errorf("limited to %d, wanted %d", got.MemoryBytes, bytes)
	}
	if err != nil {
		return err
	}
	n.say(fact{What: limited, ID: n.first(), Bytes: bytes})
	return nil
}

func (n *node) mapPort(ctx context.Context, port uint16) error {
	n.try(fact{What: mapped, ID: n.first(), Port: port})
	if err := n.box.Map(ctx, n.first(), isolation.PortMap{Host: port, Container: serverPort}); err != nil {
		return err
	}
	n.say(fact{What: mapped, ID: n.first(), Port: port})
	return nil
}

func (n *node) allow(ctx context.Context, address string) error {
	n.try(fact{What: allowed, ID: n.first(), Text: address})
	if err := n.box.Allow(ctx, n.first(), webOf(address)); err != nil {
		return err
	}
	n.say(fact{What: allowed, ID: n.first(), Text: address})
	return nil
}

func webOf(address string) isolation.EgressRule {
	return isolation.EgressRule{Protocol: "tcp", First: netip.MustParseAddr(address), Last: netip.MustParseAddr(address),
		Ports: []isolation.PortSpan{{First: 80, Last: 90}}, ICMPType: -1, ICMPCode: -1}
}

// restrict leaves a container rules for these addresses alone.
func (n *node) restrict(ctx context.Context, addresses string) error {
	var rules []isolation.EgressRule
	for address := range strings.FieldsSeq(addresses) {
		rules = append(rules, webOf(address))
	}
	n.try(fact{What: restricted, ID: n.first(), Text: addresses})
	if err := n.box.Restrict(ctx, n.first(), rules); err != nil {
		return err
	}
	n.say(fact{What: restricted, ID: n.first(), Text: addresses})
	return nil
}

func (n *node) shape(ctx context.Context, rate uint64) error {
	n.try(fact{What: shaped, ID: n.first(), Bytes: int64(rate)})
	if err := n.box.Shape(ctx, n.first(), isolation.Bandwidth{Rate: rate, Burst: rate}); err != nil {
		return err
	}
	n.say(fact{What: shaped, ID: n.first(), Bytes: int64(rate)})
	return nil
}

func (n *node) note(ctx context.Context, text string) error {
	n.try(fact{What: noted, ID: n.first(), Text: text})
	if err := n.box.Note(ctx, n.first(), json.RawMessage(text)); err != nil {
		return err
	}
	n.say(fact{What: noted, ID: n.first(), Text: text})
	return nil
}

func (n *node) forget(ctx context.Context, job uint32) error {
	n.try(fact{What: forgotten, ID: n.first(), Job: job})
	if err := n.box.Forget(ctx, n.first(), job); err != nil {
		return err
	}
	n.say(fact{What: forgotten, ID: n.first(), Job: job})
	return nil
}

func (n *node) destroy(ctx context.Context) error {
	n.try(fact{What: destroyed, ID: n.first()})
	if err := n.box.Destroy(ctx, n.first()); err != nil {
		return err
	}
	n.say(fact{What: destroyed, ID: n.first(), Port: n.port()})
	if err := n.box.Release(ctx, []string{n.first()}); err != nil {
		return err
	}
	n.say(fact{What: released, ID: n.first()})
	return nil
}

// What is copied: a few files of different sizes.
var cargo = map[string]string{"a": "alpha", "b/c": "gamma", "b/d": string(make([]byte, 100_000))}

func loadCargo(folder string) error {
	for name, content := range cargo {
		path := filepath.Join(folder, name)
		err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644))
		if err != nil {
			return err
		}
	}
	return nil
}

func (n *node) copyIn(ctx context.Context) error {
	source, err := os.MkdirTemp(filepath.Join(n.Config.State, "cargo"), "in")
	if err != nil {
		return err
	}
	defer os.RemoveAll(source)
	if err := loadCargo(source); err != nil {
		return err
	}
	vcap := isolation.User{UID: rootfs.VcapID, GID: rootfs.VcapID}
	if err := n.box.CopyIn(ctx, n.first(), isolation.Copy{Source: source + "/", Target: "cargo"}, vcap); err != nil {
		return err
	}
	n.say(fact{What: copiedIn, ID: n.first(), Text: "/home/vcap/cargo"})
	return nil
}

func (n *node) copyOut(ctx context.Context) error {
	target := filepath.Join(n.Config.State, "cargo", "out-"+n.first())
	vcap := isolation.User{UID: rootfs.VcapID, GID: rootfs.VcapID}
	if err := n.box.CopyOut(ctx, n.first(), isolation.Copy{Source: "cargo/", Target: target}, vcap); err != nil {
		return err
	}
	n.say(fact{What: copiedOut, ID: n.first(), Text: target})
	return nil
}
