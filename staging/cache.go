package staging

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options are what a cache may do. Zero values are the defaults.
type Options struct {
	AllowFiles bool // file:// sources, for `deacon dev` and `deacon run`
	// SizeMax bounds the bytes of a body, and of what it unpacks to; 4 GiB.
	SizeMax int64
	// EntriesMax bounds the files, folders and links of a droplet; 500,000.
	EntriesMax int
	// Inactivity is how long nothing may arrive; 30 s. There is no limit to
	// the whole, which a slow line and a large droplet would meet.
	Inactivity time.Duration
	// Transport asks for http and https sources. nil: one that trusts the
	// system's certificates. It must not decompress.
	Transport http.RoundTripper
}

func (o Options) withDefaults() Options {
	if o.SizeMax == 0 {
		o.SizeMax = 4 << 30
	}
	if o.EntriesMax == 0 {
		o.EntriesMax = 500_000
	}
	if o.Inactivity == 0 {
		o.Inactivity = 30 * time.Second
	}
	if o.Transport == nil {
		o.Transport = newTransport()
	}
	return o
}

// Droplet is an unpacked droplet.
type Droplet struct {
	Digest       string // "sha1-<hex>" or "sha256-<hex>": its name in the cache
	Layer        string // absolute path of the layer; nobody may write to it
	StartCommand string // staging_info.yml's; empty: none
	Startup      bool   // a first-generation droplet with a ./startup script
	// ProfileScripts: the droplet has scripts in app/.profile.d that a shell has
	// to read before the application starts, or may have.
	ProfileScripts bool
	// StateFile is where the application says that it runs (droplet.yaml's
	// state_file), below its home; empty: nowhere.
	StateFile string
}

const (
	fetchPrefix = ".fetch-"
	asidePrefix = ".aside-"
	// fetchesMax is how many droplets are fetched at once; the rest waits.
	fetchesMax = 8
)

// Cache keeps droplets by digest, each unpacked once. The folders are the only
// truth; what is remembered beside them is held against them at each use.
type Cache struct {
	dir     string
	bootID  string
	options Options
	turns   chan struct{} // one for each fetch that runs

	mu      sync.Mutex
	known   map[string]*known // by name
	flights map[digests]*flight
}

// known is a published droplet whose record was read.
type known struct {
	record record
	file   fs.FileInfo // of the record, to notice that it was changed
	// handedOut: since the last Evict. Whoever got it may not have told yet
	// that it is in use.
	handedOut bool
}

// Open opens the cache in dir, which nobody else may use at the same time, and
// removes what a dead agent left half made.
func Open(dir string, o Options) (*Cache, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("staging: open the cache: %w", err)
	}
	// Nobody but root may pass: inside are other people's files, which are
	// readable for the node's users as far as their own modes go.
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("staging: open the cache: %w", err)
	}
	bootID, err := currentBoot()
	if err != nil {
		return nil, fmt.Errorf("staging: learn the boot id: %w", err)
	}
	c := &Cache{
		dir:     dir,
		bootID:  bootID,
		options: o.withDefaults(),
		turns:   make(chan struct{}, fetchesMax),
		known:   map[string]*known{},
		flights: map[digests]*flight{},
	}
	if err := c.sweep(); err != nil {
		return nil, fmt.Errorf("staging: remove what was half made: %w", err)
	}
	return c, nil
}

func (c *Cache) sweep() error {
	names, err := c.list()
	for _, name := range names {
		if strings.HasPrefix(name, fetchPrefix) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(c.dir, name)))
		}
	}
	return err
}

// Fetch returns the droplet that has the digests asked for, as a layer. One
// that is here is returned at once, wherever it came from. Whoever asks for
// the same droplet at the same time shares one download, the first one's, and
// how it ends; it is cancelled when the last of them has lost interest.
func (c *Cache) Fetch(ctx context.Context, source Source) (Droplet, error) {
	want, err := source.wanted()
	if err != nil {
		return Droplet{}, fmt.Errorf("staging: %w", err)
	}
	if d, ok, err := c.lookup(want); ok || err != nil {
		return d, err
	}
	u, err := parseURI(source.URI, c.options.AllowFiles)
	if err != nil {
		return Droplet{}, fmt.Errorf("staging: %w", err)
	}
	return c.share(ctx, want, u)
}

// lookup finds a droplet that is here. Nothing that is damaged is found.
func (c *Cache) lookup(want digests) (Droplet, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.recall(want.name())
	if k == nil {
		return Droplet{}, false, nil
	}
	if err := want.verify(k.record.digests); err != nil {
		return Droplet{}, false, fmt.Errorf("staging: %s in the cache: %w", want.name(), err)
	}
	k.handedOut = true
	return c.droplet(k.record), true, nil
}

// recall returns what is known of a published droplet that can be trusted, or
// nil. c.mu is held.
func (c *Cache) recall(name string) *known {
	folder := filepath.Join(c.dir, name)
	app, err := os.Lstat(filepath.Join(folder, layerName, vcapHome, always[0]))
	if err != nil || !app.IsDir() {
		delete(c.known, name)
		return nil
	}
	file, err := os.Lstat(filepath.Join(folder, recordName))
	if err != nil {
		delete(c.known, name)
		return nil
	}
	if k := c.known[name]; k != nil && k.unchanged(file) {
		return k
	}
	delete(c.known, name)
	r, err := loadRecord(folder, c.bootID)
	if err != nil {
		return nil
	}
	k := &known{record: r, file: file}
	c.known[name] = k
	return k
}

func (k *known) unchanged(file fs.FileInfo) bool {
	return os.SameFile(k.file, file) && k.file.ModTime().Equal(file.ModTime()) && k.file.Size() == file.Size()
}

func (c *Cache) droplet(r record) Droplet {
	return Droplet{
		Digest:         r.Name,
		Layer:          filepath.Join(c.dir, r.Name, layerName),
		StartCommand:   r.StartCommand,
		Startup:        r.Startup,
		ProfileScripts: r.ProfileScripts == nil || *r.ProfileScripts,
		StateFile:      r.StateFile,
	}
}

// publish gives a finished folder its name. If another fetch was faster, the
// folder is left for its maker to remove.
func (c *Cache) publish(folder string, r record) (Droplet, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.recall(r.Name)
	if k == nil {
		target := filepath.Join(c.dir, r.Name)
		if err := c.setAside(r.Name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return Droplet{}, err
		}
		if err := os.Rename(folder, target); err != nil {
			return Droplet{}, err
		}
		if k = c.recall(r.Name); k == nil {
			return Droplet{}, fmt.Errorf("%w: %s, which was only just published", errDamaged, target)
		}
	}
	k.handedOut = true
	return c.droplet(k.record), nil
}

// setAside takes a folder's name away. c.mu is held.
func (c *Cache) setAside(name string) error {
	delete(c.known, name)
	if _, err := os.Lstat(filepath.Join(c.dir, name)); err != nil {
		return err
	}
	aside, err := os.MkdirTemp(c.dir, asidePrefix+name+"-")
	if err != nil {
		return err
	}
	return os.Rename(filepath.Join(c.dir, name), filepath.Join(aside, name))
}

// Evict removes every droplet that isn't among keep, by Droplet.Digest, and
// that was not handed out since the last Evict. It also makes sure that those
// that stay survive a power failure. To be called now and then, off the way
// of starts; it carries on after an error.
func (c *Cache) Evict(ctx context.Context, keep []string) error {
	unsettled, err := c.retire(keep)
	if err != nil {
		err = fmt.Errorf("staging: evict: %w", err)
	}
	names, listErr := c.list()
	err = errors.Join(err, listErr)
	for _, name := range names {
		if ctx.Err() != nil {
			return errors.Join(err, fmt.Errorf("staging: evict: %w", context.Cause(ctx)))
		}
		// A damaged layer that a container still stands on waits until that is gone.
		if was, ok := asideName(name); !ok || slices.Contains(keep, was) {
			continue
		}
		if removeErr := os.RemoveAll(filepath.Join(c.dir, name)); removeErr != nil {
			err = errors.Join(err, fmt.Errorf("staging: evict: %w", removeErr))
		}
	}
	if settleErr := settle(c.dir, unsettled); settleErr != nil {
		err = errors.Join(err, fmt.Errorf("staging: %w", settleErr))
	}
	return err
}

// retire sets aside what has to go and lists the folders that stay and haven't
// been settled.
func (c *Cache) retire(keep []string) (unsettled []string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	names, err := c.list()
	for _, name := range names {
		if !isName(name) {
			continue
		}
		k := c.known[name]
		if !slices.Contains(keep, name) && (k == nil || !k.handedOut) {
			err = errors.Join(err, c.setAside(name))
			continue
		}
		if k != nil {
			k.handedOut = false
		}
		folder := filepath.Join(c.dir, name)
		if isSettled(folder) {
			continue
		}
		if _, loadErr := loadRecord(folder, c.bootID); loadErr == nil {
			unsettled = append(unsettled, folder)
		}
	}
	return unsettled, err
}

// asideName is the name that a folder had before it was set aside.
func asideName(name string) (was string, ok bool) {
	rest, ok := strings.CutPrefix(name, asidePrefix)
	if !ok {
		return "", false
	}
	i := strings.LastIndexByte(rest, '-')
	if i < 0 {
		return "", false
	}
	return rest[:i], isName(rest[:i])
}

func (c *Cache) list() ([]string, error) {
	entries, err := os.ReadDir(c.dir)
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	if err != nil {
		err = fmt.Errorf("staging: list the cache: %w", err)
	}
	return names, err
}
