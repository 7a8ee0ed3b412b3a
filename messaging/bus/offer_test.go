package bus

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/testsuite/logbook"
)

// unwilling is a refusal with a code.
type unwilling struct{}

func (unwilling) Error() string { return "not today" }
func (unwilling) Code() string  { return "unwilling" }

func TestWhatIsOfferedIsAnsweredOrRefusedWithACode(t *testing.T) {
	s := startServer(t, nil)
	b := openBus(t, logbook.New(), Config{Servers: []string{s.url}})
	answer := func(body []byte) ([]byte, error) {
		switch string(body) {
		case "no":
			return nil, unwilling{}
		case "broken":
			return nil, errors.New("out of order")
		}
		return append(body, '!'), nil
	}
	if err := b.Offer("greet", "deacon.v1.x.greet", answer); err == nil {
		t.Error("offered while nobody listens")
	}
	listen(t, b)
	if err := b.Offer("greet", "deacon.v1.x.greet", answer); err != nil {
		t.Fatal(err)
	}
	b.conn.Flush()
	client := dial(t, s.url)
	if body, err := client.Ask(t.Context(), "deacon.v1.x.greet", []byte("hello")); err != nil || string(body) != "hello!" {
		t.Errorf("%q, %v", body, err)
	}
	for question, want := range map[string]RefusedError{"no": {"unwilling", "not today"}, "broken": {"failed", "out of order"}} {
		_, err := client.Ask(t.Context(), "deacon.v1.x.greet", []byte(question))
		if refused, ok := errors.AsType[*RefusedError](err); !ok || *refused != want {
			t.Errorf("%s: %v", question, err)
		}
	}
	b.StopListening()
	b.conn.Flush() // until the server knows
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := client.Ask(ctx, "deacon.v1.x.greet", nil); !errors.Is(err, ErrNobody) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after the end: %v", err)
	}
	if _, err := client.Ask(t.Context(), "deacon.v1.y.greet", nil); !errors.Is(err, ErrNobody) {
		t.Errorf("where nobody ever was: %v", err)
	}
}

// An offered question names the subject of its answers, like any other.
func TestNobodyIsMadeToSayWhatProgramsActUpon(t *testing.T) {
	s := startServer(t, nil)
	b := openBus(t, logbook.New(), Config{Servers: []string{s.url}})
	listen(t, b)
	asked := make(chan struct{}, 8)
	err := b.Offer("greet", "deacon.v1.x.greet", func([]byte) ([]byte, error) {
		asked <- struct{}{}
		return []byte("{}"), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	b.conn.Flush()
	client := dial(t, s.url)
	heard := make(chan string, 8)
	if err := client.Subscribe("dea.stop", func(_ string, body []byte) { heard <- string(body) }); err != nil {
		t.Fatal(err)
	}
	if err := client.conn.PublishRequest("deacon.v1.x.greet", "dea.stop", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Ask(t.Context(), "deacon.v1.x.greet", nil); err != nil { // comes after it
		t.Fatal(err)
	}
	if len(asked) != 1 || len(heard) != 0 {
		t.Errorf("asked %d times, heard %d", len(asked), len(heard))
	}
}

func TestADialOfOnesOwnMakesEveryConnection(t *testing.T) {
	s := startServer(t, nil)
	var dialled atomic.Int32
	b := openBus(t, logbook.New(), Config{Servers: []string{s.url}, Dial: func(network, address string) (net.Conn, error) {
		dialled.Add(1)
		if !strings.HasSuffix(s.url, address) {
			t.Errorf("dials %s, want %s", address, s.url)
		}
		return net.Dial(network, address)
	}})
	if !b.Connected() || dialled.Load() == 0 {
		t.Errorf("connected %v, dialled %d times", b.Connected(), dialled.Load())
	}
}
