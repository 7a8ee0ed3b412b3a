package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	dialMax    = 5 * time.Second
	answerMax  = 30 * time.Second
	errorMax   = 4 << 10 // of a refusal's text
	copyTries  = 5       // in a row without a byte
	tryPause   = 500 * time.Millisecond
	partSuffix = ".part"
)

// remoteFile is a file or folder of an instance, by its link.
type remoteFile struct {
	url    *url.URL
	query  string // of the link, and what is asked beside it
	node   string // where its node serves files
	path   string
	client *http.Client
	bad    error // the link can't be read
}

func newRemoteFile(link string, r row, path string) *remoteFile {
	f := &remoteFile{node: r.files.String(), path: path, client: &http.Client{Transport: &http.Transport{
		DialContext: (&net.Dialer{Timeout: dialMax}).DialContext, ResponseHeaderTimeout: answerMax,
		Proxy: http.ProxyFromEnvironment, DisableCompression: true,
	}}}
	if f.url, f.bad = url.Parse(link); f.bad == nil {
		f.query = f.url.RawQuery
	}
	return f
}

// get asks the node itself, which speaks HTTP, and where that can't be reached
// from here whoever answers to the link's name.
func (f *remoteFile) get(ctx context.Context, header http.Header) (*http.Response, error) {
	if f.bad != nil {
		return nil, fail(exitFailed, "", "the node's link can't be read: %w", f.bad)
	}
	direct := *f.url
	direct.Scheme, direct.Host, direct.RawQuery = "http", f.node, f.query
	answer, err := f.ask(ctx, &direct, header)
	if dial, is := errors.AsType[*net.OpError](err); is && dial.Op == "dial" && ctx.Err() == nil {
		named := *f.url
		named.RawQuery = f.query
		var second error
		if answer, second = f.ask(ctx, &named, header); second != nil {
			err = errors.Join(err, second)
		} else {
			err = nil
		}
	}
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, fail(exitUnreachable, "files come from the node itself: is it, or its router, reachable from here?",
			"the files can't be reached: %w", err)
	}
	if answer.StatusCode >= http.StatusBadRequest && answer.StatusCode != http.StatusRequestedRangeNotSatisfiable {
		defer answer.Body.Close()
		return nil, f.refused(answer)
	}
	return answer, nil
}

func (f *remoteFile) ask(ctx context.Context, to *url.URL, header http.Header) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, to.String(), nil)
	if err != nil {
		return nil, err
	}
	if header != nil {
		request.Header = header
	}
	request.Host = f.url.Host
	return f.client.Do(request)
}

// refused is the node's no in words.
func (f *remoteFile) refused(answer *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(answer.Body, errorMax))
	var said struct{ Error string }
	words := strings.TrimSpace(string(body))
	if json.Unmarshal(body, &said) == nil && said.Error != "" {
		words = said.Error
	}
	code, remedy := exitFailed, ""
	switch answer.StatusCode {
	case http.StatusNotFound:
		code = exitNotFound
	case http.StatusForbidden:
		remedy = "what the application itself may not read, or lies outside of its folder, is not shown"
	case http.StatusServiceUnavailable:
		code, remedy = exitNotFound, "it may be starting, stopping, or too many follow files"
	}
	return fail(code, remedy, "%s: %s", plain(f.path), plain(words))
}

func (f *remoteFile) broke(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fail(exitUnreachable, "", "the connection broke: %w", err)
}

// copyFile fetches a file, and goes on where the connection breaks.
func (s *session) copyFile(ctx context.Context, f *remoteFile, target string) error {
	if info, err := os.Stat(target); err == nil && info.IsDir() {
		name := path.Base(path.Clean("/" + f.path))
		if name == "/" {
			return fail(exitUsage, "see deacon files ls", "%s is a folder", plain(f.path))
		}
		target = filepath.Join(target, name)
	}
	part, err := os.OpenFile(target+partSuffix, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer part.Close()
	for tries := 0; ; {
		came, whole, err := f.fetch(ctx, part)
		if whole {
			break
		}
		if tries++; came > 0 {
			tries = 0
		}
		var told *failure
		if ctx.Err() != nil || errors.As(err, &told) && told.code != exitUnreachable || tries >= copyTries {
			return err
		}
		s.note("the connection broke, going on: %v", err)
		select {
		case <-time.After(tryPause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if err := part.Close(); err != nil {
		return err
	}
	return os.Rename(part.Name(), target)
}

// fetch gets what a part lacks. The part has the file's own time: what was of
// another version begins anew.
func (f *remoteFile) fetch(ctx context.Context, part *os.File) (came int64, whole bool, err error) {
	info, err := part.Stat()
	if err != nil {
		return 0, false, err
	}
	header := http.Header{}
	if info.Size() > 0 {
		header.Set("Range", "bytes="+strconv.FormatInt(info.Size(), 10)+"-")
		header.Set("If-Range", info.ModTime().UTC().Format(http.TimeFormat))
	}
	answer, err := f.get(ctx, header)
	if err != nil {
		return 0, false, err
	}
	defer answer.Body.Close()
	at := info.Size()
	switch answer.StatusCode {
	case http.StatusPartialContent:
	case http.StatusRequestedRangeNotSatisfiable: // all of it is there, or more
		if answer.Header.Get("Content-Range") == "bytes */"+strconv.FormatInt(at, 10) {
			return 0, true, nil
		}
		longer := errors.New("what was there is longer than the file, and is fetched anew")
		return 0, false, errors.Join(longer, part.Truncate(0))
	default:
		if !f.isFile(answer) {
			return 0, false, fail(exitUsage, "see deacon files ls", "%s is a folder", plain(f.path))
		}
		if at = 0; part.Truncate(0) != nil {
			return 0, false, errors.New("the part can't be begun anew")
		}
	}
	came, err = io.Copy(io.NewOffsetWriter(part, at), answer.Body)
	if at, parsed := http.ParseTime(answer.Header.Get("Last-Modified")); parsed == nil {
		err = errors.Join(err, os.Chtimes(part.Name(), at, at))
	}
	if err != nil {
		return came, false, f.broke(ctx, err)
	}
	return came, true, nil
}
