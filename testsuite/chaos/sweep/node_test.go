package sweep

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/box"
	"github.com/deacon-agent/deacon/isolation/rootfs"
)

// nodeEnv has the Config of a test process that plays the node under the sweep.
const nodeEnv = "DEACON_SWEEP_NODE"

// request is what the test tells the node, answered by zero or more facts and
// one reply.
type request struct {
	Do    string // open, set, go, again, check, clear, end; hold, let, kill
	Op    string // of set and go
	Count uint32 // which kill this is: slots and epochs follow from it
	Facts []fact // of check
	Dead  bool   // PID 1 was killed, so what needs it needn't hold
}

type reply struct {
	Fact  *fact
	Done  bool
	Error string
	Wrong []string // of check
	Inits []int    // of set: who could be killed
}

// node is one agent's life without NATS.
type node struct {
	Config box.Config
	Stack  string // the root file system of every container
	Ports  uint16 // the first of twice portsEach that may be mapped
	box    *box.Box
	out    *json.Encoder
	count  uint32
	ids    map[uint32]string // of this operation's containers, by their places
	inits  []int

	holding *os.File
}

// playNode serves the test until it is killed or its input ends.
func playNode(encoded string) error {
	n := &node{out: json.NewEncoder(os.Stdout)}
	if err := json.Unmarshal([]byte(encoded), n); err != nil {
		return err
	}
	orders := bufio.NewReader(os.Stdin)
	for {
		line, err := orders.ReadBytes('\n')
		if err != nil {
			return nil
		}
		var r request
		if err := json.Unmarshal(line, &r); err != nil {
			return err
		}
		answer, err := n.serve(r)
		if err != nil {
			answer.Error = err.Error()
		}
		answer.Done = true
		if err := n.out.Encode(answer); err != nil {
			return err
		}
	}
}

func (n *node) serve(r request) (answer reply, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	switch r.Do {
	case "open":
		return answer, n.open(ctx)
	case "set":
		n.count, n.ids, n.inits = r.Count, map[uint32]string{}, nil
		op := operationNamed(r.Op)
		if op.set != nil {
			err = op.set(ctx, n)
		}
		return reply{Inits: n.inits}, err
	case "go":
		return answer, operationNamed(r.Op).run(ctx, n)
	case "again":
		n.count = r.Count
		_, err = n.box.Create(ctx, n.spec(1), nil)
		return answer, err
	case "check":
		return reply{Wrong: n.judge(ctx, r.Facts, r.Dead)}, nil
	case "clear":
		return answer, n.clear(ctx)
	case "hold": // a namespace, for the oracle to find
		n.holding, err = os.Open("/proc/self/ns/net")
		return answer, err
	case "let":
		return answer, n.holding.Close()
	case "kill": // PID 1, behind the agent's back
		return answer, syscall.Kill(n.inits[0], syscall.SIGKILL)
	case "end":
		return answer, errors.Join(n.box.Close(), n.box.Remove())
	}
	return answer, fmt.Errorf("the node can't %q", r.Do)
}

func (n *node) open(ctx context.Context) (err error) {
	if n.box, err = box.Open(n.Config); err != nil {
		return err
	}
	_, err = n.box.Recover(ctx)
	return err
}

// clear takes everything down, as a node that shuts down does.
func (n *node) clear(ctx context.Context) error {
	specs, err := n.box.Containers(ctx)
	var ids []string
	for _, spec := range specs {
		ids = append(ids, spec.ID)
		err = errors.Join(err, n.box.Destroy(ctx, spec.ID))
	}
	// Spares too: they are nobody's.
	_, spares := n.box.Prepare(ctx, nil)
	return errors.Join(err, n.box.Release(ctx, ids), spares)
}

// say tells the test what it may rely on from now on; try, what may have
// happened from now on.
func (n *node) say(f fact) { n.out.Encode(reply{Fact: &f}) }

func (n *node) try(f fact) {
	f.Trying = true
	n.say(f)
}

const slots = 16

// spec is the place'th container of this operation.
func (n *node) spec(place uint32, ports ...uint16) isolation.Spec {
	number := (2*n.count + place) % slots
	spec := isolation.Spec{
		ID: idOf(n.count, place), Slot: number, Epoch: n.count + 1, Owner: isolation.OwnerInstance, Created: time.Now(),
		Rootfs: isolation.Rootfs{Layers: []string{n.Stack},
			Binds: []isolation.Bind{{Source: "/usr", Target: "/usr", ReadOnly: true}}},
		Limits: isolation.Limits{MemoryBytes: 64 << 20, CPUShares: 64, Pids: 64, DiskBytes: 32 << 20},
	}
	for _, p := range ports {
		spec.Network.Ports = append(spec.Network.Ports, isolation.PortMap{Host: p, Container: serverPort})
	}
	return spec
}

// create makes a container, with a job if there is one, and says so.
func (n *node) create(ctx context.Context, spec isolation.Spec, job *isolation.Job) error {
	n.try(fact{What: created, ID: spec.ID})
	status, err := n.box.Create(ctx, spec, job)
	if err != nil {
		return err
	}
	n.inits = append(n.inits, status.InitPID)
	n.say(fact{What: created, ID: spec.ID, Bytes: spec.Limits.MemoryBytes})
	for _, p := range spec.Network.Ports {
		n.say(fact{What: mapped, ID: spec.ID, Port: p.Host})
	}
	if job != nil {
		n.say(fact{What: started, ID: spec.ID, Job: job.Number})
	}
	return nil
}

func (n *node) spawn(ctx context.Context, id string, job *isolation.Job) error {
	n.try(fact{What: started, ID: id, Job: job.Number})
	if err := n.box.Spawn(ctx, id, *job); err != nil {
		return err
	}
	n.say(fact{What: started, ID: id, Job: job.Number})
	return nil
}

// wait says how a job ended and what it wrote.
func (n *node) wait(ctx context.Context, id string, number uint32) error {
	exit, err := n.box.Wait(ctx, id, number)
	if err != nil {
		return err
	}
	if exit.Lost { // an honest answer, and no fact about the job
		return nil
	}
	n.say(fact{What: ended, ID: id, Job: number, Exit: &exit, Text: n.text(id, number)})
	return nil
}

func (n *node) text(id string, number uint32) string {
	content, _ := os.ReadFile(filepath.Join(n.box.JobFolder(id, number), "stdout"))
	return string(content)
}

// shell is a job of vcap that runs a line of sh.
func shell(number uint32, line string) *isolation.Job {
	return &isolation.Job{
		Number: number, Argv: []string{"/bin/sh", "-c", line}, Env: []string{"PATH=/usr/bin:/bin", "HOME=/home/vcap"},
		Dir: "/home/vcap", User: isolation.User{UID: rootfs.VcapID, GID: rootfs.VcapID}, Umask: 0o077, Files: 256, Procs: 64,
	}
}

// sleeper runs until it is stopped; TERM ends it.
func sleeper(number uint32) *isolation.Job { return shell(number, "echo up; exec sleep 600") }

const (
	serverPort = 8080
	serving    = "serving\n" // what the server says first
	greeting   = "hello\n"
)

// server says hello to whoever connects, which is how a mapped port is known to
// lead somewhere.
func server(number uint32) *isolation.Job {
	return shell(number, fmt.Sprintf(`exec perl -e 'use Socket; socket(S,PF_INET,SOCK_STREAM,0);
setsockopt(S,SOL_SOCKET,SO_REUSEADDR,1); bind(S,sockaddr_in(%d,INADDR_ANY)) or die; listen(S,8);
syswrite(STDOUT,"serving\n"); while(1){accept(C,S) or next; syswrite(C,"hello\n"); close(C)}'`, serverPort))
}

// greeted asks at a port of the node until it is greeted: the server may only
// be starting.
func greeted(ctx context.Context, port uint16) error {
	for {
		err := greet(port)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func greet(port uint16) error {
	conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(time.Second))
	got := make([]byte, len(greeting))
	read, err := conn.Read(got)
	if string(got[:read]) != greeting {
		return fmt.Errorf("port %d says %q: %v", port, got[:read], err)
	}
	return nil
}

// idOf is an id made of two numbers.
func idOf(count, place uint32) string {
	const alphabet = "abcdefghijklmnopqrstuvwxyz234567"
	var id strings.Builder
	id.WriteString("sweep")
	for _, shift := range []uint32{15, 10, 5, 0} {
		id.WriteByte(alphabet[count>>shift&31])
	}
	id.WriteByte(alphabet[place])
	id.WriteByte('a')
	return id.String()
}
