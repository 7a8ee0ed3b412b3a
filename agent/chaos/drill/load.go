package drill

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// targets are the instances that are asked, and where they answer now.
type targets struct {
	mu   sync.Mutex
	urls map[string]string // by target; empty: it answers nowhere at present
}

func (t *targets) set(target, url string) (isNew bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, known := t.urls[target]
	t.urls[target] = url
	return !known
}

func (t *targets) url(target string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.urls[target]
}

func (t *targets) names() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var names []string
	for name := range t.urls {
		names = append(names, name)
	}
	return names
}

// bodyMax is how much of an answer is read.
const bodyMax = 1 << 20

// errNowhere is what a request comes to that nobody could be asked.
const errNowhere = "no instance runs that could be asked"

// client makes a connection for each request: that a mapped port leads to the
// application is what is looked at.
func (l Load) client() *http.Client {
	return &http.Client{
		Timeout:       l.Timeout,
		Transport:     &http.Transport{DisableKeepAlives: true, Proxy: nil},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// requestsMax bounds what a drill remembers: each of its requests, to the end.
const requestsMax = 10_000_000

// fits says why so many targets can't be asked for so long.
func (l Load) fits(targets int, lasts time.Duration) error {
	if n := int64(targets) * int64(lasts/l.Every); n > requestsMax {
		return fmt.Errorf("drill: %d instances asked every %s for %s are %d requests, and at most %d are remembered; "+
			"ask less often, or for a shorter time", targets, l.Every, lasts, n, int64(requestsMax))
	}
	return nil
}

// ask asks one target all the time, from a moment of its own on, until ctx ends.
func (l Load) ask(ctx context.Context, t *targets, target string, into *Log) {
	client := l.client()
	tick := time.NewTicker(l.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		from := time.Now()
		err := l.once(client, t.url(target))
		into.request(Request{Target: target, From: from, To: time.Now(), Error: err})
	}
}

// once makes one request. It is not cut off when the drill ends: then it would
// count as one that wasn't answered.
func (l Load) once(client *http.Client, base string) string {
	if base == "" {
		return errNowhere
	}
	answer, err := client.Get(base + l.Path)
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(answer.Body, bodyMax)); err != nil {
		return "the answer broke off: " + err.Error()
	}
	if answer.StatusCode >= http.StatusInternalServerError {
		return fmt.Sprintf("answered with status %d", answer.StatusCode)
	}
	return ""
}
