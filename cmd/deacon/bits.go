package main

import (
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/staging"
)

// bits is the droplet of one run, and the server that hands it to the node.
type bits struct {
	droplet messaging.Droplet
	worker  bool // the Procfile says that it has no port
	server  *http.Server
	folder  string // temporary; empty: none
}

// prepare makes a droplet of whatever the command line names, and serves it.
func prepare(o runOptions) (_ *bits, err error) {
	b := &bits{}
	defer func() {
		if err != nil {
			b.discard()
		}
	}()
	if o.isURL() {
		b.droplet = messaging.Droplet{URI: o.source, SHA1: strings.ToLower(o.sha1)}
		return b, nil
	}
	file, err := b.file(o)
	if err != nil {
		return nil, err
	}
	return b, b.offer(file, o.serve)
}

// file is the droplet's file: the one that was named, or one made from a
// folder or a command. It learns the digest on the way.
func (b *bits) file(o runOptions) (_ string, err error) {
	if o.source != "" {
		info, err := os.Stat(o.source)
		if errors.Is(err, fs.ErrNotExist) {
			return "", fail(exitNotFound, "a command of the node's own follows a --: deacon run -- "+o.source,
				"there is no droplet or folder %s", o.source)
		}
		if err != nil {
			return "", err
		}
		if !info.IsDir() {
			if err := checkArchive(o.source); err != nil {
				return "", err
			}
			if b.worker, err = isWorker(o.source); err == nil {
				b.droplet.SHA1, err = sha1File(o.source)
			}
			return o.source, err
		}
	}
	if b.folder, err = os.MkdirTemp("", "deacon-run-"); err != nil {
		return "", err
	}
	p, folder := process{kind: webProcess, command: strings.Join(o.arguments, " ")}, o.source
	if folder == "" {
		folder = filepath.Join(b.folder, "empty")
		err = os.Mkdir(folder, 0o755)
	} else {
		p, err = folderProcess(folder, o.process, o.command)
	}
	if err != nil {
		return "", err
	}
	b.worker = p.kind != webProcess
	file := filepath.Join(b.folder, "droplet.tgz")
	b.droplet.SHA1, err = seal(folder, file, p.command)
	return file, err
}

// folderProcess says how a folder's application is started.
func folderProcess(folder, kind, command string) (process, error) {
	processes, err := readProcfile(folder)
	if err != nil {
		return process{}, fail(exitFailed, "", "%w", err)
	}
	p, err := chooseProcess(processes, kind)
	switch {
	case err != nil && command != "" && kind == "": // then the Procfile isn't needed
		return process{kind: webProcess, command: command}, nil
	case err == nil && command != "":
		p.command = command
	case err != nil:
		return p, fail(exitUsage, `write one, such as "web: ./server", or give a --command`, "%s: %w", folder, err)
	}
	return p, nil
}

// seal packs a folder into a droplet and returns its SHA-1, the wire's digest.
func seal(folder, file, command string) (sha1 string, err error) {
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	digests, err := staging.Seal(out, folder, staging.Info{StartCommand: command})
	return digests.SHA1, err
}

func sha1File(name string) (string, error) {
	file, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	sum := sha1.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// headerMax bounds how long a client of the droplet's server may dawdle.
const headerMax = 10 * time.Second

// offer serves the file, and nothing else, to whoever knows its name.
func (b *bits) offer(file, address string) error {
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		return fail(exitFailed, "--serve wants an address of this machine", "can't serve the droplet: %w", err)
	}
	path := "/" + newGUID() + "/droplet.tgz"
	routes := http.NewServeMux()
	routes.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) })
	b.server = &http.Server{Handler: routes, ReadHeaderTimeout: headerMax}
	b.droplet.URI = "http://" + listener.Addr().String() + path
	go b.server.Serve(listener) // ends with discard
	return nil
}

// discard ends the server and removes what was made. It may be called twice.
func (b *bits) discard() {
	if b.server != nil {
		b.server.Close()
	}
	if b.folder != "" {
		os.RemoveAll(b.folder)
	}
}
