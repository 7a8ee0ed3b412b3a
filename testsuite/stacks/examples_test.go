package stacks

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/compression"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

// What the examples are given in turn, and how each shows that it runs.
var examples = map[string]struct {
	changes  map[string]any
	greeting string // of web applications
	line     string // of all
}{
	"go":     {greeting: "Hello from Go", line: "go: "},
	"python": {greeting: "Hello from Python", line: "python: listening"},
	"node":   {greeting: "Hello from Node.js", line: "node: listening"},
	"crash":  {line: "about to make a mistake", changes: map[string]any{"env": []string{"CRASH_AFTER=1"}}},
	"memory": {line: "MiB eaten", changes: map[string]any{"uris": []string{}}},
	"worker": {line: "primes below", changes: map[string]any{"uris": []string{}}},
}

// TestAStackOfDebian is one test, because what it begins with takes longest.
func TestAStackOfDebian(t *testing.T) {
	s := newStage(t)
	dice := rolled(t)
	s.killEarly(dice)
	took := s.build("debian")
	s.run("verify", "debian")
	droplets := pack(t)
	t.Run("runs every example, and is kept as long as that lasts", func(t *testing.T) { s.runsEverything(t, droplets) })
	t.Run("runs an example when it comes back as an image", func(t *testing.T) { s.comesBack(t, droplets) })
	t.Run("leaves nothing or all of it, killed at any moment", func(t *testing.T) { s.isKilled(t, dice, took) })
}

// pack makes every example a droplet, as a user does.
func pack(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	made := exec.Command("make", "-C", filepath.Join(rig.Root(), "examples"), "DEACON="+rig.Binary(t, "deacon"), "DROPLETS="+folder)
	if out, err := made.CombinedOutput(); err != nil {
		t.Fatalf("pack the examples: %v\n%s", err, out)
	}
	return folder
}

// node is one on the stage's state folder, and whoever is around it.
type node struct {
	*rig.Node
	t     *testing.T
	ctl   *rig.Controller
	blobs *rig.DropletServer
	id    string
}

func (s *stage) startNode(t *testing.T, stacks string) *node {
	t.Helper()
	nats := rig.StartNATS(t)
	n := &node{t: t, ctl: rig.NewController(t, nats.URL), blobs: rig.NewDropletServer(t)}
	n.Node = rig.StartNode(t, rig.Options{NATS: nats.URL, State: s.folder, Config: "disk { pool_size = \"1GiB\" }\n" + stacks})
	n.id, _ = n.ctl.Expect("dea.start", soon).Body["id"].(string)
	return n
}

func (n *node) start(app, stack string, d rig.Droplet) {
	n.t.Helper()
	m := map[string]any{
		"droplet": app, "name": app, "version": "1", "index": 0, "uris": []string{app + ".example"}, "sha1": d.SHA1,
		"executableUri": d.URI, "executableFile": "deprecated", "cc_partition": "default",
		"limits":   map[string]any{"mem": 128, "disk": 128, "fds": 512},
		"services": []any{},
		"env":      []string{}, "vcap_application": map[string]any{"name": app}, "stack": stack,
	}
	maps.Copy(m, examples[app].changes)
	n.ctl.Publish("dea."+n.id+".start", m)
}

// greets wants an application to answer and to write what it does.
func (n *node) greets(app string) {
	n.t.Helper()
	if words := examples[app].greeting; words != "" {
		port := n.ctl.Expect("router.register", late, rig.With("app", app)).Body["port"]
		if body := get(n.t, fmt.Sprintf("http://127.0.0.1:%v/", port)); !strings.Contains(body, words) {
			n.t.Errorf("%s answers %q", app, body)
		}
	}
	n.ctl.Expect("deacon.v1.logs."+app+".0", late, func(seen rig.Seen) bool {
		text, _ := seen.Body["text"].(string)
		return strings.Contains(text, examples[app].line)
	})
}

func get(t *testing.T, url string) string {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func (s *stage) runsEverything(t *testing.T, droplets string) {
	s = &stage{t, s.folder, s.config, s.cache}
	n := s.startNode(t, "stack \"debian\" {}\n")
	for app := range examples {
		n.start(app, "debian", n.blobs.AddFile(filepath.Join(droplets, app+".tgz")))
	}
	for app := range examples {
		n.greets(app)
	}
	for app, words := range map[string]string{"crash": "app instance exited", "memory": "out of memory"} {
		if told := n.ctl.Expect("droplet.exited", late, rig.With("droplet", app)).Body["exit_description"]; told != words {
			t.Errorf("%s ended with %q, want %q", app, told, words)
		}
	}
	// The command's own file doesn't name the stack; the agent's did.
	s.refused("the agent that runs on this state folder offers it", "remove", "debian")
	n.Kill()
	s.refused("of the instance", "remove", "debian")
	n.Start()
	n.Shutdown()
	s.configure("stack \"debian\" {}\n")
	s.refused("rootfs.hcl names it", "remove", "debian")
	s.configure("")
	s.run("verify", "debian") // nothing of what ran got into it
}

// image makes an OCI layout of a stack: all of it below, and a layer over it that
// adds a file and hides others.
func (s *stage) image(from string) string {
	s.t.Helper()
	tree := filepath.Join(s.state(), "stacks", from, "tree")
	upper := filepath.Join(s.folder, "upper")
	must := func(err error) {
		s.t.Helper()
		if err != nil {
			s.t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(upper, "usr/share"), 0o755))
	must(os.WriteFile(filepath.Join(upper, "usr/share/.wh.doc"), nil, 0o644))
	must(os.WriteFile(filepath.Join(upper, "marked"), []byte("by the upper layer\n"), 0o644))
	image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: runtime.GOARCH})
	must(err)
	for _, folder := range []string{tree, upper} {
		archive := filepath.Join(s.folder, filepath.Base(folder)+".tar")
		out, err := exec.Command("tar", "--numeric-owner", "--xattrs", "-C", folder, "-cf", archive, ".").CombinedOutput()
		if err != nil {
			s.t.Fatalf("tar: %v\n%s", err, out)
		}
		layer, err := tarball.LayerFromFile(archive, tarball.WithCompression(compression.ZStd),
			tarball.WithCompressionLevel(1), tarball.WithMediaType(types.OCILayerZStd))
		must(err)
		image, err = mutate.AppendLayers(image, layer)
		must(err)
	}
	at := filepath.Join(s.folder, "layout")
	index, err := layout.Write(at, empty.Index)
	must(err)
	must(index.AppendImage(image))
	return at
}

func (s *stage) comesBack(t *testing.T, droplets string) {
	s = &stage{t, s.folder, s.config, s.cache}
	s.run("import", "image", s.image("debian"))
	tree := filepath.Join(s.state(), "stacks", "image", "tree")
	if _, err := os.Stat(filepath.Join(tree, "usr/share/doc")); err == nil {
		t.Error("/usr/share/doc was hidden by the upper layer, and is there")
	}
	t.Cleanup(func() { s.run("remove", "image") }) // when the node has started and ended once more
	n := s.startNode(t, "stack \"image\" {}\n")
	n.start("python", "image", n.blobs.AddFile(filepath.Join(droplets, "python.tgz")))
	n.greets("python")
	n.Shutdown()
	s.run("verify", "image")
}
