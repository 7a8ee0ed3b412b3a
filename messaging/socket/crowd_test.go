package socket

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/warden"
)

func TestAHundredClientsAreServedAtOnce(t *testing.T) {
	const clients, rounds = 100, 20
	n := open(t, Config{})
	var all sync.WaitGroup
	for i := range clients {
		c := dial(t, n.path)
		all.Go(func() {
			for round := range rounds {
				text := fmt.Sprint(i, " ", round)
				c.send(infoOf(t, text), echoOf(t, text))
				c.expect(warden.TypeInfo, messaging.Failed{Text: text})
				c.echoed(text)
			}
		})
	}
	asked := 0
	for asked < clients*rounds {
		if cmd, ok := receive(t, n.commands).(messaging.InspectContainer); ok {
			asked++
			n.Answer(messaging.Answered{Ask: cmd.Ask, Answer: messaging.Failed{Text: cmd.Handle}})
		}
	}
	all.Wait()
}

func TestWhoComesBeyondTheLimitIsTurnedAwayAndLaterLetIn(t *testing.T) {
	n := open(t, Config{ConnectionsMax: 2})
	first, second := n.dial(t), n.dial(t)
	for range 10 {
		dial(t, n.path).expectEnd()
	}
	n.log.Wait(t, "a client was turned away: reason=\"there are 2 already\"")
	first.send(ping())
	first.pong()
	second.conn.Close()
	hear[messaging.ClientGone](t, n)
	receive(t, n.forgotten(second))
	n.dial(t)
}

// forgotten is closed when there is room for another client.
func (n *node) forgotten(c *client) <-chan struct{} {
	if there := n.find(c.number); there != nil {
		return there.ended
	}
	over := make(chan struct{})
	close(over)
	return over
}

// Without file descriptors accept fails at once, over and over.
func TestWithoutFileDescriptorsClientsWait(t *testing.T) {
	n := open(t, Config{})
	first := n.dial(t)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := unix.Rlimit{Cur: 0, Max: limit.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	restore := sync.OnceValue(func() error { return unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) })
	defer restore()
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: n.path}); err != nil {
		t.Fatal(err)
	}
	n.log.Wait(t, "a client can't be accepted")
	first.send(ping())
	first.pong()
	if err := restore(); err != nil {
		t.Fatal(err)
	}
	hear[messaging.ClientConnected](t, n)
	if lines := bytes.Count([]byte(n.log.String()), []byte("can't be accepted")); lines != 1 {
		t.Errorf("that is in the log %d times", lines)
	}
}

var seedFlag = flag.Uint64("seed", 0, "replay one run of the random test")

// Clients of all manners do what they like while a node answers late and in any
// order. Each gets exactly the answers to its own requests, in order; the node
// hears of each client's coming, then its requests one at a time, then its going.
func TestClientsOfAllMannersGetTheirOwnAnswers(t *testing.T) {
	seeds := []uint64{1, 2, 3, uint64(time.Now().UnixNano())}
	if *seedFlag != 0 {
		seeds = []uint64{*seedFlag}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("replay: go test ./messaging/socket -run %s -seed=%d", "TestClientsOfAllManners", seed)
				}
			}()
			runCrowd(t, seed)
		})
	}
}

func runCrowd(t *testing.T, seed uint64) {
	const clients = 40
	n := open(t, Config{})
	w := newWitness(n, seed)
	witnessed := make(chan struct{})
	go func() {
		defer close(witnessed)
		w.watch(clients)
	}()
	var all sync.WaitGroup
	for i := range clients {
		c := dial(t, n.path)
		all.Go(func() {
			defer c.conn.Close()
			p := player{c, rand.New(rand.NewPCG(seed, uint64(i)))}
			for turn := range 12 {
				if !p.play(fmt.Sprint(i, ".", turn)) {
					return
				}
			}
		})
	}
	all.Wait()
	receive(t, witnessed)
	for _, wrong := range w.wrong {
		t.Error(wrong)
	}
}

// player is one client of the crowd.
type player struct {
	*client
	rng *rand.Rand
}

// play takes one turn, and says whether the client is still there.
func (p player) play(text string) bool {
	switch p.rng.IntN(12) {
	case 0: // leaves in the middle of a request, or of a frame
		request := linkOf(p.t, text)
		p.send(request[:1+p.rng.IntN(len(request))])
		return false
	case 1:
		p.send(infoOf(p.t, text), []byte("nonsense\r\n"))
		p.expect(warden.TypeInfo, messaging.Failed{Text: text})
		p.expectEnd()
		return false
	case 2, 3, 4:
		p.send(streamOf(p.t, text))
		for range chunksOf(text) {
			m := p.next()
			if got := warden.AppendFrame(nil, m.Type, m.Payload); !bytes.Equal(got, warden.Chunk("stdout", []byte(text))) {
				p.t.Errorf("a chunk of %s is %q", text, got)
			}
		}
		p.expect(warden.TypeStream, messaging.JobStreamed{Status: 1})
	default:
		p.pipeline(text)
	}
	return true
}

// pipeline sends several requests before it reads their answers.
func (p player) pipeline(text string) {
	var frames [][]byte
	var answers []func()
	for i := range 1 + p.rng.IntN(30) {
		part := fmt.Sprint(text, ".", i)
		if p.rng.IntN(2) == 0 {
			frames = append(frames, echoOf(p.t, part))
			answers = append(answers, func() { p.echoed(part) })
		} else {
			frames = append(frames, infoOf(p.t, part))
			answers = append(answers, func() { p.expect(warden.TypeInfo, messaging.Failed{Text: part}) })
		}
	}
	p.send(frames...)
	for _, answer := range answers {
		answer()
	}
}

// chunksOf is how many chunks the toy node streams for a handle.
func chunksOf(handle string) int { return len(handle) % 5 }

// witness is a toy node: it collects requests and answers one of them, drawn by
// the seed, whenever nothing else comes or enough have collected.
type witness struct {
	n      *node
	rng    *rand.Rand
	here   map[messaging.Client]bool
	asking map[messaging.Client]uint64
	queue  []func()
	wrong  []string
}

func newWitness(n *node, seed uint64) *witness {
	return &witness{
		n: n, rng: rand.New(rand.NewPCG(seed, 99)),
		here: map[messaging.Client]bool{}, asking: map[messaging.Client]uint64{},
	}
}

// watch ends when as many clients have come and gone.
func (w *witness) watch(clients int) {
	for gone := 0; gone < clients; {
		var cmd messaging.Command
		if len(w.queue) == 0 {
			cmd = <-w.n.commands
		} else {
			select {
			case cmd = <-w.n.commands:
			default:
			}
		}
		if cmd != nil && w.hear(cmd) {
			gone++
		}
		if len(w.queue) > 0 && (cmd == nil || w.rng.IntN(3) == 0) {
			i := w.rng.IntN(len(w.queue))
			w.queue[i]()
			w.queue = append(w.queue[:i], w.queue[i+1:]...)
		}
	}
}

func (w *witness) hear(cmd messaging.Command) (gone bool) {
	switch cmd := cmd.(type) {
	case messaging.ClientConnected:
		w.check(!w.here[cmd.Client], "client %d came twice", cmd.Client)
		w.here[cmd.Client] = true
	case messaging.ClientGone:
		w.check(w.here[cmd.Client], "client %d left before it came", cmd.Client)
		w.here[cmd.Client], w.asking[cmd.Client] = false, 0
		return true
	case messaging.InspectContainer:
		w.asked(cmd.Ask)
		w.queue = append(w.queue, func() { w.answer(cmd.Ask, messaging.Failed{Text: cmd.Handle}) })
	case messaging.StreamJob:
		w.asked(cmd.Ask)
		w.queue = append(w.queue, func() { w.stream(cmd) })
	case messaging.AnswerSent:
		w.check(w.here[cmd.To.Client], "client %d has an answer and isn't there", cmd.To.Client)
		w.check(w.asking[cmd.To.Client] == 0, "client %d has an answer and waits for it", cmd.To.Client)
	case messaging.LinkJob: // its client left at once
		w.asked(cmd.Ask)
	default:
		w.check(false, "heard %#v", cmd)
	}
	return false
}

func (w *witness) asked(ask messaging.Ask) {
	w.check(w.here[ask.Client], "client %d asks and isn't there", ask.Client)
	w.check(w.asking[ask.Client] == 0, "client %d asks %d while %d is under way", ask.Client, ask.Request, w.asking[ask.Client])
	w.asking[ask.Client] = ask.Request
}

func (w *witness) stream(cmd messaging.StreamJob) {
	for range chunksOf(cmd.Handle) {
		if err := w.n.Chunk(context.Background(), cmd.Ask, "stdout", []byte(cmd.Handle)); err != nil {
			w.check(false, "%v", err)
		}
	}
	w.answer(cmd.Ask, messaging.JobStreamed{Status: 1})
}

func (w *witness) answer(ask messaging.Ask, answer messaging.Answer) {
	w.asking[ask.Client] = 0
	w.n.Answer(messaging.Answered{Ask: ask, Answer: answer})
}

func (w *witness) check(ok bool, format string, a ...any) {
	if !ok {
		w.wrong = append(w.wrong, fmt.Sprintf(format, a...))
	}
}
