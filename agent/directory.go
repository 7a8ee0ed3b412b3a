package agent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/record"
	filewatch "github.com/deacon-agent/deacon/isolation/watch"
	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/directory"
)

// directoryRecord is what links hang on, in the state folder: a link outlives the
// agent that signed it.
const directoryRecord = "directory"

// seal is the directory server's name, and what it signs with.
type seal struct {
	Label string `json:"label"` // 32 hexadecimal digits
	Key   []byte `json:"key"`
}

const sealKeyBytes = 64 // HMAC-SHA512's block is longer, and its sum as long

func (s seal) whole() bool {
	_, err := hex.DecodeString(s.Label)
	return err == nil && len(s.Label) == 32 && len(s.Key) == sealKeyBytes
}

// recallSeal reads the seal, or draws one that is on the disk before anything is
// signed. One that is damaged is no reason not to start: links of the last hour
// are refused then.
func recallSeal(state string) (s seal, notes []string, err error) {
	err = record.Load(state, directoryRecord, &s)
	switch {
	case err == nil && s.whole():
		return s, nil, nil
	case err == nil:
		err = fmt.Errorf("record: %s: %w", filepath.Join(state, directoryRecord), record.ErrCorrupt)
		fallthrough
	case !errors.Is(err, fs.ErrNotExist):
		notes = append(notes, fmt.Sprintf("%v: it is drawn anew, and links to files that were given out are refused", err))
	}
	s = seal{Label: newInstanceID(), Key: make([]byte, sealKeyBytes)}
	rand.Read(s.Key) // never fails on Linux
	if err := record.SaveDurable(state, directoryRecord, s); err != nil {
		return seal{}, nil, fmt.Errorf("agent: keep the directory server's key: %w", err)
	}
	return s, notes, nil
}

// openDirectory has the directory server listen, and the tree know of it. Who comes
// before the agent serves waits.
func (a *agent) openDirectory(o *actors.Options) error {
	c := a.config.Directory
	if c == nil {
		if err := os.RemoveAll(filepath.Join(a.state.path, crashesFolder)); err != nil {
			a.log.Warn("logs of crashed instances that nobody can see can't be removed", "error", err)
		}
		return nil
	}
	kept, err := openCrashes(a, *c)
	if err != nil {
		return err
	}
	s, notes, err := recallSeal(a.state.path)
	if err != nil {
		return err
	}
	a.note(notes)
	signer := &directory.Signer{
		Key: s.Key, Protocol: c.Protocol, Host: s.Label + "." + c.Domain, Lifetime: c.URLLifetime,
	}
	listen, told := c.Listen, c.Listen
	if !listen.IsValid() {
		listen, told = a.node.Address, a.node.Address
	}
	if listen.IsUnspecified() {
		told = a.node.Address
	}
	a.directory, err = directory.Open(directory.Config{
		Listen: netip.AddrPortFrom(listen, c.Port), Signer: signer, Silence: c.StreamingTimeout,
		Log: a.log.Named("directory"),
	}, files{a.store, live{a.box, a.log}, kept})
	if err != nil {
		return fmt.Errorf("agent: serve files: %w", err)
	}
	a.defers("the directory server", a.directory.Close)
	o.Crashes = kept
	o.Directory = &actors.Directory{
		Route: messaging.Route{
			URIs: []string{signer.Host}, Host: told, Port: c.Port, ComponentTag: a.node.DirectoryTag(),
		},
		Link: signer.URL,
	}
	return nil
}

// serveFiles answers, once it is known what a former agent left.
func (a *agent) serveFiles() {
	if a.directory != nil {
		a.directory.Serve()
		a.log.Info("files are served", "address", a.directory.Address(), "domain", a.config.Directory.Domain)
	}
}

// files are those of every instance that may be looked into.
type files struct {
	store   *store
	live    live
	crashes *crashes
}

var _ directory.Files = files{}

// Open opens what is in the home of an instance that runs, or what is kept of one
// that crashed.
func (f files) Open(ctx context.Context, instance, path string) (*os.File, error) {
	r, known := f.find(instance)
	if !known {
		return nil, directory.ErrUnknown
	}
	switch r.State {
	case messaging.Running: // that it is evacuated changes nothing
		return f.look(ctx, r, path)
	case messaging.Stopped: // and about to be forgotten
		return nil, directory.ErrUnknown
	case messaging.Crashed:
		file, err := f.crashes.open(r.Instance, path)
		if errors.Is(err, errNotKept) { // its container may still be there
			return f.look(ctx, r, path)
		}
		return file, err
	}
	return nil, directory.ErrUnavailable
}

// look opens in the container, as the application's own user may.
func (f files) look(ctx context.Context, r actors.Record, path string) (*os.File, error) {
	user, err := f.live.vcap(ctx, r.Placement.Container)
	if err == nil {
		var file *os.File
		if file, err = f.live.Look(ctx, r.Placement.Container, path, user); err == nil {
			return file, nil
		}
	}
	if errors.Is(err, isolation.ErrGone) || errors.Is(err, isolation.ErrUnknown) {
		return nil, fmt.Errorf("%w: %w", directory.ErrUnavailable, err)
	}
	return nil, err
}

// find looks an instance up by the name that it has on the wire, or the one that it
// was born with: a link that was given out before an update is good for its time.
func (f files) find(instance string) (actors.Record, bool) {
	if r, ok := f.store.Get(instance); ok {
		return r, true
	}
	for _, r := range f.store.All() {
		if r.Named() == instance {
			return r, true
		}
	}
	return actors.Record{}, false
}

// Watch is the kernel's.
func (f files) Watch(file *os.File) (directory.Watch, error) {
	w, err := filewatch.File(file)
	if err != nil {
		return nil, err // and not a nil of watch's own
	}
	return w, nil
}
