package staging

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// redirectsMax is how many redirects are followed.
const redirectsMax = 5

// newTransport is a transport for bodies that are hashed as they are sent:
// nothing is decompressed on the way. Connections aren't kept, as a droplet is
// fetched once.
func newTransport() *http.Transport {
	return &http.Transport{
		DialContext:            (&net.Dialer{}).DialContext, // the inactivity limit covers it
		DisableCompression:     true,
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// body is a droplet on its way here. It fails when nothing arrives for a
// while, and when more arrives than is allowed.
type body struct {
	content  io.ReadCloser
	left     int64 // bytes that may still come
	max      int64
	patience *patience
	failure  error // other than io.EOF
}

// open starts to read what u points at. ctx has to be cancelled in the end.
func (c *Cache) open(ctx context.Context, u *url.URL) (*body, error) {
	ctx, p := newPatience(ctx, c.options.Inactivity)
	b := &body{left: c.options.SizeMax, max: c.options.SizeMax, patience: p}
	var size int64
	var err error
	if u.Scheme == "file" {
		b.content, size, err = openFile(u.Path)
	} else {
		p.start()
		b.content, size, err = c.get(ctx, u)
		p.stop()
	}
	if err == nil && size > b.max {
		b.content.Close()
		err = b.tooLarge()
	}
	if err != nil {
		err = p.explain(err)
		p.end()
		return nil, err
	}
	return b, nil
}

func (b *body) Read(p []byte) (int, error) {
	if b.failure != nil {
		return 0, b.failure
	}
	// One more than is allowed is asked for, so that a body that has exactly
	// the allowed size ends in peace.
	p = p[:min(int64(len(p)), b.left+1)]
	b.patience.start()
	n, err := b.content.Read(p)
	b.patience.stop()
	b.left -= int64(n)
	switch {
	case b.left < 0:
		n, err = 0, b.tooLarge()
		b.failure = err
	case err != nil && err != io.EOF:
		err = b.patience.explain(err)
		b.failure = err
	}
	return n, err
}

func (b *body) tooLarge() error { return &LimitError{What: "bytes of the body", Max: b.max} }

func (b *body) Close() error {
	b.patience.end()
	return b.content.Close()
}

// openFile opens a regular file; a fifo would let us wait for ever.
func openFile(path string) (io.ReadCloser, int64, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		file.Close()
		return nil, 0, err
	}
	return file, info.Size(), nil
}

// get follows redirects itself: what net/http says of a redirect that fails
// quotes its target, which may carry credentials.
func (c *Cache) get(ctx context.Context, u *url.URL) (io.ReadCloser, int64, error) {
	credentials := u.User
	for range redirectsMax + 1 {
		response, err := c.ask(ctx, u, credentials)
		if err != nil {
			return nil, 0, err
		}
		if response.StatusCode == http.StatusOK {
			return response.Body, response.ContentLength, nil
		}
		response.Body.Close()
		if !isRedirect(response.StatusCode) {
			return nil, 0, &StatusError{Code: response.StatusCode}
		}
		next, err := u.Parse(response.Header.Get("Location"))
		if err != nil || next.Scheme != "http" && next.Scheme != "https" || next.Host == "" {
			return nil, 0, errors.New("the server redirects to something that is no http uri")
		}
		// Credentials go where they were given for, and nowhere else.
		if next.User != nil || next.Scheme != u.Scheme || next.Host != u.Host {
			credentials = next.User
		}
		u = next
	}
	return nil, 0, fmt.Errorf("more than %d redirects", redirectsMax)
}

func (c *Cache) ask(ctx context.Context, u *url.URL, credentials *url.Userinfo) (*http.Response, error) {
	bare := *u
	bare.User = nil
	bare.Fragment = ""
	request := &http.Request{Method: http.MethodGet, URL: &bare, Host: bare.Host, Header: http.Header{}}
	request.Header.Set("User-Agent", "deacon")
	if credentials != nil {
		password, _ := credentials.Password()
		pair := credentials.Username() + ":" + password
		request.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
	}
	return c.options.Transport.RoundTrip(request.WithContext(ctx))
}

func isRedirect(code int) bool {
	switch code {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// patience cancels a context when one wait takes too long. Only waiting for
// the other side counts: a slow disk of ours is not a slow server.
type patience struct {
	limit  time.Duration
	timer  *time.Timer
	cancel context.CancelCauseFunc
	ctx    context.Context
}

func newPatience(parent context.Context, limit time.Duration) (context.Context, *patience) {
	ctx, cancel := context.WithCancelCause(parent)
	lost := func() { cancel(fmt.Errorf("nothing arrived for %s", limit)) }
	timer := time.AfterFunc(limit, lost)
	timer.Stop()
	return ctx, &patience{limit: limit, timer: timer, cancel: cancel, ctx: ctx}
}

func (p *patience) start() { p.timer.Reset(p.limit) }
func (p *patience) stop()  { p.timer.Stop() }

func (p *patience) end() {
	p.timer.Stop()
	p.cancel(nil)
}

// explain replaces what a cancelled read says by the reason why it was
// cancelled.
func (p *patience) explain(err error) error {
	if cause := context.Cause(p.ctx); cause != nil {
		return cause
	}
	return err
}
