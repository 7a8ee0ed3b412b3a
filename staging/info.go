package staging

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	// startup is a first-generation droplet's start script (wire/dea.md d.2).
	startup = "startup"
	// profileFolder has what buildpacks want a shell to read before the start (wire/dea.md d.1).
	profileFolder = "app/.profile.d"
	// infoName is what a stager says of the droplet.
	infoName = "staging_info.yml"
	// manifestName is what a droplet says of its health (wire/dea.md b.2).
	manifestName = "droplet.yaml"
	// infoMax bounds either; a start command is a line or two.
	infoMax = 64 << 10
)

// info is what is used of infoName.
type info struct {
	Buildpack    string `yaml:"detected_buildpack,omitempty"`
	StartCommand string `yaml:"start_command,omitempty"`
}

// readInfo reads what a droplet says of itself. A droplet without infoName
// says nothing, which is no error.
func readInfo(droplet *os.Root) (info, error) {
	var i info
	if err := readYAML(droplet, infoName, &i); err != nil {
		return i, err
	}
	if strings.ContainsRune(i.StartCommand, 0) {
		return i, fmt.Errorf("%s is wrong: start_command has a zero byte", infoName)
	}
	return i, nil
}

// readYAML reads a file of a droplet; where there is none, nothing.
func readYAML(droplet *os.Root, name string, into any) error {
	found, err := droplet.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !found.Mode().IsRegular() {
		return &EntryError{name, "has to be a file"}
	}
	if found.Size() > infoMax {
		return &LimitError{What: "bytes of " + name, Max: infoMax}
	}
	text, err := droplet.ReadFile(name)
	if err != nil {
		return err
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s is wrong: %w", name, err)
	}
	return nil
}

// manifest is what is used of manifestName.
type manifest struct {
	StateFile string `yaml:"state_file,omitempty"`
}

// readManifest reads how a droplet wants to be seen to run, if it says so.
func readManifest(droplet *os.Root) (manifest, error) {
	var m manifest
	if err := readYAML(droplet, manifestName, &m); err != nil {
		return m, err
	}
	if m.StateFile != "" && (!filepath.IsLocal(m.StateFile) || strings.ContainsRune(m.StateFile, 0)) {
		return m, fmt.Errorf("%s is wrong: state_file is no path within the droplet", manifestName)
	}
	return m, nil
}

// hasStartup says whether there is a start script of the first generation.
func hasStartup(droplet *os.Root) bool {
	found, err := droplet.Lstat(startup)
	return err == nil && found.Mode().IsRegular()
}

// hasProfileScripts says whether app/.profile.d/*.sh may match anything. Where
// that can't be told from here, it may: a link can lead anywhere once the
// droplet is in its container.
func hasProfileScripts(droplet *os.Root) bool {
	found, err := droplet.Lstat(profileFolder)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	if !found.IsDir() {
		return found.Mode()&fs.ModeSymlink != 0
	}
	entries, err := fs.ReadDir(droplet.FS(), profileFolder)
	return err != nil || slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		return strings.HasSuffix(e.Name(), ".sh")
	})
}
