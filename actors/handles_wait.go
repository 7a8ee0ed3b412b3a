package actors

import (
	"slices"

	"github.com/deacon-agent/deacon/messaging"
)

// What a client is told whose request can't even wait any more: queueMax others do.
const (
	cantList = "the containers of the node can't be listed"
	cantTell = "the jobs of a container can't be told"
)

// wait keeps what comes before it is known what containers there are. Of a client
// that comes and goes meanwhile only what it asked for is kept.
func (s *handles) wait(command messaging.Command) {
	switch m := command.(type) {
	case messaging.ClientGone:
		if !slices.ContainsFunc(s.queue, func(c messaging.Command) bool { return askedBy(c, m.Client) }) {
			came := messaging.Command(messaging.ClientConnected{Client: m.Client})
			s.queue = slices.DeleteFunc(s.queue, func(c messaging.Command) bool { return c == came })
			return
		}
	case messaging.ClientCommand:
		if s.asked == queueMax {
			s.w.tell(messaging.Answered{Ask: m.Asked(), Answer: messaging.Failed{Text: cantList}})
			return
		}
		s.asked++
	default: // is kept, as often as clients are there
	}
	s.queue = append(s.queue, command)
}

func askedBy(command messaging.Command, client messaging.Client) bool {
	m, asks := command.(messaging.ClientCommand)
	return asks && m.Asked().Client == client
}

// unwait serves what waited.
func (s *handles) unwait(serve func(messaging.Command)) {
	queue := s.queue
	s.queue, s.asked = nil, 0
	for _, command := range queue {
		serve(command)
	}
}

// waitJobless keeps who wants a job until the last number of one is known.
func (s *handles) waitJobless(m messaging.ClientCommand) {
	if len(s.jobless) == queueMax {
		s.w.tell(messaging.Answered{Ask: m.Asked(), Answer: messaging.Failed{Text: cantTell}})
		return
	}
	s.jobless = append(s.jobless, m)
}
