package staging

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"
)

// flight is a download that several wait for.
type flight struct {
	waiters int // under the cache's lock
	cancel  context.CancelFunc
	done    chan struct{} // closed when the rest may be read
	droplet Droplet
	err     error
}

// share joins the download of a droplet, or begins it.
func (c *Cache) share(ctx context.Context, want digests, u *url.URL) (Droplet, error) {
	c.mu.Lock()
	f := c.flights[want]
	if f == nil {
		f = c.launch(want, u)
	}
	f.waiters++
	c.mu.Unlock()
	select {
	case <-f.done:
		return f.droplet, f.err
	case <-ctx.Done():
		c.leave(f, want)
		return Droplet{}, fmt.Errorf("staging: fetch %s from %s: %w",
			want.name(), Redacted(u.String()), context.Cause(ctx))
	}
}

// leave gives up waiting. The last one ends the download, and returns when
// nothing is left of it. Nobody joins it any more then.
func (c *Cache) leave(f *flight, want digests) {
	c.mu.Lock()
	f.waiters--
	last := f.waiters == 0
	if last && c.flights[want] == f {
		delete(c.flights, want)
	}
	c.mu.Unlock()
	if last {
		f.cancel()
		<-f.done
	}
}

// launch begins a download. c.mu is held.
func (c *Cache) launch(want digests, u *url.URL) *flight {
	ctx, cancel := context.WithCancel(context.Background())
	f := &flight{cancel: cancel, done: make(chan struct{})}
	c.flights[want] = f
	go func() {
		defer cancel()
		d, err := c.fly(ctx, want, u)
		if err != nil {
			err = fmt.Errorf("staging: fetch %s from %s: %w", want.name(), Redacted(u.String()), err)
		}
		c.mu.Lock()
		f.droplet, f.err = d, err
		if c.flights[want] == f {
			delete(c.flights, want)
		}
		c.mu.Unlock()
		close(f.done)
	}()
	return f
}

func (c *Cache) fly(ctx context.Context, want digests, u *url.URL) (d Droplet, err error) {
	// Supervision does not reach this goroutine.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	select {
	case c.turns <- struct{}{}:
		defer func() { <-c.turns }()
	case <-ctx.Done():
		return Droplet{}, context.Cause(ctx)
	}
	// Another flight may have landed between the look into the cache and the launch.
	if d, ok, err := c.lookup(want); ok || err != nil {
		return d, err
	}
	return c.fetch(ctx, want, u)
}

// fetch downloads, unpacks, verifies and publishes one droplet. Whatever goes
// wrong, nothing of it is left.
func (c *Cache) fetch(ctx context.Context, want digests, u *url.URL) (d Droplet, err error) {
	content, err := c.open(ctx, u)
	if err != nil {
		return Droplet{}, err
	}
	defer content.Close()
	folder, err := os.MkdirTemp(c.dir, fetchPrefix)
	if err != nil {
		return Droplet{}, err
	}
	// After it was published, there is nothing to remove any more.
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	r, err := c.fill(folder, want, content)
	if err != nil {
		return Droplet{}, err
	}
	if err := r.save(folder); err != nil {
		return Droplet{}, err
	}
	return c.publish(folder, r)
}

// fill unpacks content into folder and verifies it.
func (c *Cache) fill(folder string, want digests, content *body) (record, error) {
	l, err := newLayer(filepath.Join(folder, layerName), c.options)
	if err != nil {
		return record{}, err
	}
	defer l.close()
	hashes := newSums()
	hashed := bufio.NewReaderSize(io.TeeReader(content, hashes), copySize)
	wrong := unpack(hashed, l)
	got, err := judge(hashed, hashes, content, want, wrong)
	if err != nil {
		return record{}, err
	}
	i, err := readInfo(l.root)
	if err != nil {
		return record{}, err
	}
	m, err := readManifest(l.root)
	if err != nil {
		return record{}, err
	}
	return record{
		digests:        got,
		Name:           want.name(),
		StartCommand:   i.StartCommand,
		Startup:        hasStartup(l.root),
		ProfileScripts: new(hasProfileScripts(l.root)),
		StateFile:      m.StateFile,
		Bytes:          l.size,
		Entries:        l.entries,
		Fetched:        time.Now(),
		BootID:         c.bootID,
	}, nil
}

// judge says which of the things that went wrong is the reason. A body that
// never came whole, or that was too much, has no digest. Else the digest
// comes first: an error page that came instead of a droplet is not an archive
// either, but that isn't what is wrong with it.
func judge(hashed io.Reader, hashes sums, content *body, want digests, wrong error) (digests, error) {
	if content.failure != nil {
		return digests{}, content.failure
	}
	if _, ok := errors.AsType[*LimitError](wrong); ok {
		return digests{}, wrong
	}
	if _, err := io.Copy(io.Discard, hashed); err != nil {
		return digests{}, err
	}
	got := hashes.digests()
	if err := want.verify(got); err != nil {
		return digests{}, err
	}
	return got, wrong
}
