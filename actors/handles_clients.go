package actors

import (
	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/messaging"
)

// The clients of the handles: who refers to which container, and who waits for what.

func (s *handles) refer(client messaging.Client, id string) {
	kept, held := s.held[id]
	named, connected := s.clients[client]
	if !held || !connected {
		return
	}
	named[id] = true
	kept.clients[client] = true
	if kept.cancel != nil {
		kept.cancel()
		kept.cancel = nil
	}
}

func (s *handles) leave(c *kit.Context[handlesMessage], client messaging.Client) {
	for id := range sorted(s.clients[client]) {
		if kept, ok := s.held[id]; ok {
			delete(kept.clients, client)
			s.expireSoon(c, id)
		}
	}
	delete(s.clients, client)
	for ask, id := range byAsk(s.asks) {
		if ask.Client == client {
			delete(s.asks, ask)
			s.held[id].ref.Tell(askerLeft{ask})
		}
	}
	for ask := range byAsk(s.handing) {
		if ask.Client == client {
			s.sent(ask) // who leaves takes the job along
		}
	}
}

// expireSoon begins the grace time of a container that nobody refers to.
func (s *handles) expireSoon(c *kit.Context[handlesMessage], id string) {
	kept := s.held[id]
	if !kept.ready || len(kept.clients) > 0 || kept.grace < 0 {
		return
	}
	if kept.cancel != nil {
		kept.cancel()
	}
	kept.turn++
	kept.cancel = c.After(kept.grace, graceOver{id, kept.turn})
}

func (s *handles) answer(ask messaging.Ask, a messaging.Answer) {
	id, waits := s.asks[ask]
	if !waits {
		return
	}
	delete(s.asks, ask)
	switch a.(type) {
	case messaging.JobLinked, messaging.JobStreamed:
		s.handing[ask] = id
	default: // nothing hangs on when it is there
	}
	s.w.tell(messaging.Answered{Ask: ask, Answer: a})
}

// sent says to whom it concerns that a client has its answer.
func (s *handles) sent(ask messaging.Ask) {
	if id, handing := s.handing[ask]; handing {
		delete(s.handing, ask)
		s.held[id].ref.Tell(answerSent{ask})
	}
}
