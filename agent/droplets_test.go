package agent

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/staging"
)

func TestTheActorsGetADropletFromTheCache(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: layers belong to user 2000, which only root can arrange; run this as root")
	}
	app := t.TempDir()
	if err := os.WriteFile(filepath.Join(app, "run"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	sealed, err := os.Create(filepath.Join(t.TempDir(), "droplet.tgz"))
	if err != nil {
		t.Fatal(err)
	}
	defer sealed.Close()
	sums, err := staging.Seal(sealed, app, staging.Info{StartCommand: "./run"})
	if err != nil {
		t.Fatal(err)
	}
	cache, err := staging.Open(t.TempDir(), staging.Options{AllowFiles: true})
	if err != nil {
		t.Fatal(err)
	}
	d := droplets{cache}

	got, err := d.Fetch(t.Context(), messaging.Droplet{URI: "file://" + sealed.Name(), SHA1: sums.SHA1})

	if err != nil || got.Digest != "sha1-"+sums.SHA1 || got.StartCommand != "./run" || got.Startup {
		t.Fatalf("got %+v, %v", got, err)
	}
	script := filepath.Join(got.Layer, "home/vcap/app/run")
	if info, err := os.Stat(script); err != nil || info.Mode() != 0o755 {
		t.Errorf("%s: %v, %v", script, info, err)
	}
	for range 2 { // the first spares what was only just handed out
		if err := d.Evict(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(script); !os.IsNotExist(err) {
		t.Errorf("after it was evicted: %v", err)
	}
}
