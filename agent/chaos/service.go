package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// injectMax bounds an injection, healMax its end.
	injectMax, healMax = 30 * time.Second, 30 * time.Second
	// answerLead is how long an answer has to leave before what would cut it off.
	answerLead = 250 * time.Millisecond
	// healAgain is the pause before what could not be healed is tried again.
	healAgain = 5 * time.Second
	// seenMax is how many orders are remembered, so that one that comes twice
	// is carried out once.
	seenMax = 4096
)

// Service is the node's side of deacon chaos.
type Service struct {
	node *Node // nil: chaos is not allowed
	id   string
	life context.Context // ends with Close
	end  context.CancelFunc
	turn sync.Mutex // of whoever injects: one after the other

	mu      sync.Mutex
	active  map[string]*active // by the order's id, like all that follows
	answers map[string]answer
	order   []string // of answers, oldest first
}

// active is an injection that is still to be healed.
type active struct {
	fault string
	heal  func(context.Context) error
	timer *time.Timer
}

// answer is what came of an order.
type answer struct {
	injected Injected
	err      error
}

// NewService serves a node; one that is nil refuses everything.
func NewService(id string, node *Node) *Service {
	s := &Service{node: node, id: id, active: map[string]*active{}, answers: map[string]answer{}}
	s.life, s.end = context.WithCancel(context.Background())
	return s
}

// Answer answers one question. Its errors are *RefusedErrors.
func (s *Service) Answer(verb string, body []byte) ([]byte, error) {
	if s.node == nil {
		return nil, refuse(CodeNotAllowed, "node %s doesn't allow chaos; to allow it, say chaos { allow = true } "+
			"in its configuration and start its agent again", s.id)
	}
	ctx, cancel := context.WithTimeout(s.life, injectMax)
	defer cancel()
	var answer any
	var err error
	switch verb {
	case VerbList:
		answer, err = s.list()
	case VerbInject:
		var o Order
		if err = read(body, &o); err == nil {
			answer, err = s.inject(ctx, o)
		}
	case VerbHeal:
		var h Healing
		if err = read(body, &h); err == nil {
			answer = s.heal(h.ID)
		}
	case VerbAudit:
		answer, err = s.audit(ctx)
	default:
		err = refuse(CodeMalformed, "there is no %q; there are %s", verb, strings.Join(Verbs, ", "))
	}
	if err == nil {
		body, err = json.Marshal(answer)
	}
	if _, typed := errors.AsType[*RefusedError](err); err != nil && !typed {
		err = refuse(CodeFailed, "%v", err)
	}
	return body, err
}

func read(body []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return refuse(CodeMalformed, "the request can't be read: %v", err)
	}
	return nil
}

func (s *Service) list() (Listing, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return Listing{}, err
	}
	pids, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return Listing{}, err
	}
	listing := Listing{
		Node: s.id, Boot: strings.TrimSpace(string(boot)), PID: os.Getpid(), PIDs: pids, State: s.node.State,
	}
	for _, f := range append(All(), AgentStopped) {
		offer := Offer{Name: f.Name, Does: f.Does, Heals: f.Heals, Harms: f.Harm, For: Span(f.For), Available: true}
		if err := f.Available(s.node); err != nil {
			offer.Available, offer.Why = false, err.Error()
		}
		listing.Faults = append(listing.Faults, offer)
	}
	return listing, nil
}

// inject carries out an order, unless it was carried out, or refused, before.
func (s *Service) inject(ctx context.Context, o Order) (Injected, error) {
	if err := o.check(); err != nil {
		return Injected{}, refuse(CodeMalformed, "%v", err)
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	was, twice := s.answers[o.ID]
	s.mu.Unlock()
	if twice {
		return was.injected, was.err
	}
	injected, err := s.carryOut(ctx, o)
	s.remember(o.ID, answer{injected, err})
	return injected, err
}

func (s *Service) carryOut(ctx context.Context, o Order) (Injected, error) {
	fault, ok := Find(o.Fault)
	if !ok {
		return Injected{}, refuse(CodeUnknown, "there is no fault %q; deacon chaos list names them", o.Fault)
	}
	if err := s.possible(fault); err != nil {
		return Injected{}, refuse(CodeUnavailable, "%s: %v", o.Fault, err)
	}
	done, err := fault.Inject(ctx, s.node, o)
	if _, unable := errors.AsType[unableError](err); unable {
		return Injected{}, refuse(CodeUnavailable, "%s: %v", o.Fault, err)
	}
	if err != nil {
		s.node.Log.Warn("a fault could not be injected", "fault", o.Fault, "error", err)
		return Injected{}, refuse(CodeFailed, "%s: %v", o.Fault, err)
	}
	s.node.Log.Warn("a fault was injected on order", "fault", o.Fault, "order", o.ID, "what", done.Note,
		"instance", done.Victim.Instance)
	injected := Injected{ID: o.ID, Note: done.Note, Victim: done.Victim}
	lead := time.Duration(0)
	if done.Heal != nil {
		injected.For = Span(o.For.or(fault.For))
	}
	if done.Begin != nil {
		lead = answerLead
		time.AfterFunc(lead, func() { s.begin(o.ID, done) })
	}
	if done.Heal != nil {
		s.healLater(o.ID, active{fault: fault.Name, heal: done.Heal}, lead+injected.For.Duration())
	}
	return injected, nil
}

// possible says why a fault can't be done now.
func (s *Service) possible(fault Fault) error {
	if s.life.Err() != nil {
		return errors.New("the agent is about to end")
	}
	if err := fault.Available(s.node); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range s.active {
		if other.fault == fault.Name { // healing the one would heal the other
			return errors.New("it is under way already")
		}
	}
	return nil
}

// healLater has an injection end by itself.
func (s *Service) healLater(id string, a active, after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.timer = time.AfterFunc(after, func() { s.heal(id) })
	s.active[id] = &a
}

// begin does what had to wait for the answer, unless it was healed before.
func (s *Service) begin(id string, done Injection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active[id] != nil || done.Heal == nil {
		done.Begin()
	}
}

func (s *Service) remember(id string, a answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[id] = a
	if s.order = append(s.order, id); len(s.order) > seenMax {
		delete(s.answers, s.order[0])
		s.order = s.order[1:]
	}
}

// heal takes back one injection, or all. What can't be taken back is tried
// again after a pause, and by the next call.
func (s *Service) heal(id string) Healed {
	s.mu.Lock()
	defer s.mu.Unlock()
	healed := Healed{IDs: []string{}, Errors: []string{}}
	ctx, cancel := context.WithTimeout(context.Background(), healMax)
	defer cancel()
	for _, name := range slices.Sorted(maps.Keys(s.active)) {
		if id != "" && name != id {
			continue
		}
		injection := s.active[name]
		injection.timer.Stop()
		if err := injection.heal(ctx); err != nil {
			s.node.Log.Error("a fault could not be healed", "fault", injection.fault, "error", err)
			healed.Errors = append(healed.Errors, injection.fault+": "+err.Error())
			injection.timer.Reset(healAgain)
			continue
		}
		delete(s.active, name)
		healed.IDs = append(healed.IDs, name)
		s.node.Log.Info("a fault was healed", "fault", injection.fault, "order", name)
	}
	return healed
}

// Close ends what is being injected, and heals what is left.
func (s *Service) Close() error {
	s.end()
	if s.node == nil {
		return nil
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	var failed error
	for _, text := range s.heal("").Errors {
		failed = errors.Join(failed, errors.New("chaos: heal "+text))
	}
	return errors.Join(failed, Clean(s.node.State))
}
