package agent

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/box"
	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/bus"
	"github.com/deacon-agent/deacon/messaging/dea"
	"github.com/deacon-agent/deacon/messaging/exec"
)

// openMax bounds how long a session may take to begin.
const openMax = 10 * time.Second

// sessions are the commands that run in instances for deacon exec. The actors say
// whether one may begin; from then on it is nobody's but its client's and PID 1's,
// and what comes of it concerns no instance.
type sessions struct {
	most    int
	subject string
	enter   func(context.Context, string) (actors.Record, error)
	plan    func(actors.Record, []string, string) (isolation.Job, error)
	box     *box.Box
	tell    func(messaging.Asked)
	log     hclog.Logger

	life   context.Context // ends with close
	end    context.CancelCauseFunc
	mu     sync.Mutex
	count  int
	closed bool
	all    sync.WaitGroup
}

// refusal is a no that programs can tell from others.
type refusal struct {
	code string
	error
}

func (r refusal) Code() string { return r.code }

var errSessionsEnd = errors.New("the node's agent ends, and every session with it; what runs in the instances runs on")

func (a *agent) offerSessions() error {
	planner := NewPlanner(PlannerConfig{Instance: a.config.Instance, Address: a.config.Node.Address})
	s := &sessions{
		most: a.config.Instance.Sessions, subject: dea.ExecSubject(a.node.ID),
		enter: a.tree.Enter, plan: planner.Beside, box: a.box, log: a.log.Named("exec"),
		tell: func(e messaging.Asked) {
			e.NodeID = a.node.ID
			a.bus.Publish(e)
		},
	}
	s.life, s.end = context.WithCancelCause(context.Background())
	a.defers("the sessions", func() error { s.close(); return nil })
	return a.bus.OfferSessions(s.open)
}

// close ends every session and returns when their clients were told.
func (s *sessions) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end(errSessionsEnd)
	s.all.Wait()
}

// claim takes one of the places that there are.
func (s *sessions) claim() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.most == 0:
		return refusal{exec.CodeForbidden, errors.New("this node's configuration allows no sessions (instance.sessions_max)")}
	case s.closed:
		return errSessionsEnd
	case s.count >= s.most:
		return refusal{exec.CodeTooMany, fmt.Errorf("%d sessions run on this node, which is the most", s.count)}
	}
	s.count++
	s.all.Add(1)
	return nil
}

func (s *sessions) release() {
	s.mu.Lock()
	s.count--
	s.mu.Unlock()
	s.all.Done()
}

// open begins a session, or says why not.
func (s *sessions) open(r exec.Request, connect func(id string) (*bus.Session, error)) (run func(), err error) {
	if err := s.claim(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.release()
		}
	}()
	ctx, cancel := context.WithTimeout(s.life, openMax)
	defer cancel()
	record, err := s.enter(ctx, r.Instance)
	if err != nil {
		return nil, unentered(err)
	}
	process, err := s.start(ctx, record, r)
	if err != nil {
		return nil, err
	}
	id := newSessionID()
	wire, err := connect(id)
	if err != nil {
		process.HangUp()
		process.Close()
		return nil, err
	}
	log := s.log.With("session", id, "application", record.Start.Application, "index", record.Start.Index,
		"instance", r.Instance)
	// Not the command: it may have a secret in it.
	log.Info("a command was begun in an instance", "program", r.Command[0], "terminal", r.Terminal != nil, "by", r.By)
	s.tell(messaging.Asked{
		Asker:       messaging.Asker{Subject: s.subject, Reply: r.Output, By: r.By},
		Application: record.Start.Application, Index: record.Start.Index, Instances: 1, At: time.Now(),
	})
	return func() {
		wire.Begin()
		go func() {
			defer s.release()
			(&session{wire: wire, process: process, log: log, terminal: r.Terminal != nil}).run(s.life)
		}()
	}, nil
}

func (s *sessions) start(ctx context.Context, record actors.Record, r exec.Request) (*box.Session, error) {
	var window *isolation.Window
	var kind string
	if r.Terminal != nil {
		window = &isolation.Window{Rows: r.Terminal.Rows, Columns: r.Terminal.Columns}
		kind = r.Terminal.Type
	}
	job, err := s.plan(record, r.Command, kind)
	if err != nil {
		return nil, refusal{exec.CodeMalformed, err}
	}
	job.Number = rand32()
	return s.box.Attach(ctx, record.Placement.Container, job, window)
}

// unentered adds what programs tell it by.
func unentered(err error) error {
	if _, resting := errors.AsType[*actors.NotRunningError](err); resting {
		return refusal{exec.CodeNotRunning, err}
	}
	if errors.Is(err, actors.ErrNoInstance) {
		return refusal{exec.CodeUnknown, err}
	}
	return err
}

// rand32 draws a number that no other session of a container is likely to have;
// PID 1 refuses one that is taken.
func rand32() uint32 {
	var b [4]byte
	rand.Read(b[:]) // never fails on Linux
	return binary.NativeEndian.Uint32(b[:])
}

// newSessionID draws what nobody guesses: who knows it may type.
func newSessionID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails on Linux
	return hex.EncodeToString(b[:])
}
