package kit

import (
	"sync"

	"github.com/asynkron/protoactor-go/actor"
)

// mailbox takes the place of the library's, whose turn lasts until it is empty
// (a seeded dispatcher sees too few histories of that), whose ring never
// shrinks, and which a runtime.Goexit wedges for ever.
//
// It also keeps stopped actors stopped: once its actor has begun to stop it
// hands on no Restart, and once it is closed nothing at all.
type mailbox struct {
	mu         sync.Mutex
	system     queue
	user       queue
	scheduled  bool // a turn is running or on its way
	suspended  bool // its actor has failed and waits for a verdict
	stopping   bool
	closed     bool
	throughput int
	owner      *cell
	invoker    actor.MessageInvoker
	dispatcher actor.Dispatcher
	turn       func() // m.run, made once
}

// RegisterHandlers, Start and UserMessageCount are the library's side.
func (m *mailbox) RegisterHandlers(invoker actor.MessageInvoker, dispatcher actor.Dispatcher) {
	m.invoker, m.dispatcher, m.turn = invoker, dispatcher, m.run
	m.throughput = max(1, dispatcher.Throughput())
}

func (m *mailbox) Start() {}

func (m *mailbox) UserMessageCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.user.len()
}

func (m *mailbox) PostUserMessage(message any)   { m.push(&m.user, message) }
func (m *mailbox) PostSystemMessage(message any) { m.push(&m.system, message) }

// push says whether the message was taken.
func (m *mailbox) push(q *queue, message any) bool {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return false
	}
	q.push(message)
	start := !m.scheduled && m.ready()
	m.scheduled = m.scheduled || start
	m.mu.Unlock()
	if start {
		m.dispatcher.Schedule(m.turn)
	}
	return true
}

func (m *mailbox) ready() bool {
	return m.system.len() > 0 || m.user.len() > 0 && !m.suspended
}

// beginStop makes the mailbox deaf to a Restart that is on its way.
func (m *mailbox) beginStop() {
	m.mu.Lock()
	m.stopping = true
	m.mu.Unlock()
}

// close drops what is queued and refuses what comes; it returns how many user
// messages it dropped.
func (m *mailbox) close() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	dropped := m.user.len()
	m.closed, m.system, m.user = true, queue{}, queue{}
	return dropped
}

// run is one turn: a few messages, then back to the end of the line.
func (m *mailbox) run() {
	deepen(0)
	over := false
	defer func() {
		if !over {
			// Goexit ends this goroutine; the mailbox goes on in another.
			m.dispatcher.Schedule(m.turn)
		}
	}()
	for range m.throughput {
		message, system, ok := m.next()
		if !ok {
			over = true
			return
		}
		m.invoke(message, system)
	}
	over = true
	m.mu.Lock()
	m.scheduled = m.ready()
	again := m.scheduled
	m.mu.Unlock()
	if again {
		m.dispatcher.Schedule(m.turn)
	}
}

// next takes the next message, system messages first. Without one the turn is over.
func (m *mailbox) next() (message any, system, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.system.len() > 0 {
		message := m.system.pop()
		switch message.(type) {
		case *actor.SuspendMailbox:
			m.suspended = true
		case *actor.ResumeMailbox:
			m.suspended = false
		case *actor.Restart:
			if !m.stopping {
				return message, true, true
			}
		default:
			return message, true, true
		}
	}
	if m.user.len() > 0 && !m.suspended {
		return m.user.pop(), false, true
	}
	m.scheduled = false
	return nil, false, false
}

func (m *mailbox) invoke(message any, system bool) {
	defer func() {
		if reason := recover(); reason != nil {
			m.invoker.EscalateFailure(m.owner.blame(reason), message)
		}
	}()
	if system {
		m.invoker.InvokeSystemMessage(message)
	} else {
		m.invoker.InvokeUserMessage(message)
	}
}

// queueKeep is how many places an empty queue keeps; most actors are idle.
const queueKeep = 16

type queue struct {
	items []any
	head  int
}

func (q *queue) len() int { return len(q.items) - q.head }

func (q *queue) push(x any) {
	if q.head > 0 && q.head >= len(q.items)/2 && len(q.items) == cap(q.items) {
		kept := copy(q.items, q.items[q.head:])
		clear(q.items[kept:])
		q.items, q.head = q.items[:kept], 0
	}
	q.items = append(q.items, x)
}

func (q *queue) pop() any {
	x := q.items[q.head]
	q.items[q.head] = nil
	q.head++
	switch {
	case q.head < len(q.items):
	case cap(q.items) > queueKeep:
		*q = queue{}
	default:
		q.items, q.head = q.items[:0], 0
	}
	return x
}
