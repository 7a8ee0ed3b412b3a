package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path"

	"go.yaml.in/yaml/v3"
)

// The files of a droplet that say what it is. Both come early in droplets
// that were packed here.
const (
	dropletInfo     = "staging_info.yml"
	dropletProcfile = "app/Procfile"
)

// isWorker looks into a droplet: it is a worker's if it starts with the
// command of a process that isn't web. What can't be read is the node's to
// judge; here it is no worker.
func isWorker(droplet string) (bool, error) {
	file, err := os.Open(droplet)
	if err != nil {
		return false, err
	}
	defer file.Close()
	found, err := readEntries(file, dropletInfo, dropletProcfile)
	if err != nil || len(found) < 2 {
		return false, nil
	}
	var info struct {
		StartCommand string `yaml:"start_command"`
	}
	if err := yaml.Unmarshal(found[dropletInfo], &info); err != nil {
		return false, nil
	}
	processes, err := parseProcfile(dropletProcfile, found[dropletProcfile])
	if err != nil {
		return false, nil
	}
	for _, p := range processes {
		if p.command == info.StartCommand {
			return p.kind != webProcess, nil
		}
	}
	return false, nil
}

// archiveMagic is how compressed archives begin: gzip, zstd.
var archiveMagic = [][]byte{{0x1f, 0x8b}, {0x28, 0xb5, 0x2f, 0xfd}}

// checkArchive refuses a file that no node can unpack. What is in the archive
// is the node's to judge.
func checkArchive(name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	start := bufio.NewReader(file)
	for _, magic := range archiveMagic {
		if head, _ := start.Peek(len(magic)); bytes.Equal(head, magic) {
			return nil
		}
	}
	if _, err := tar.NewReader(start).Next(); err != nil {
		return fail(exitUsage, "deacon droplet FOLDER makes one; a command of the node's own follows a --: "+
			"deacon run -- "+name, "%s is no droplet: neither a tar archive nor one in gzip or zstd", name)
	}
	return nil
}

// readEntries reads the named files of a gzipped archive, as far as each may
// be long, and stops when it has them all.
func readEntries(archive io.Reader, names ...string) (map[string][]byte, error) {
	plain, err := gzip.NewReader(archive)
	if err != nil {
		return nil, err
	}
	found := map[string][]byte{}
	for tape := tar.NewReader(plain); len(found) < len(names); {
		header, err := tape.Next()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return found, err
		}
		for _, name := range names {
			if path.Clean(header.Name) != name || header.Size > procfileMax {
				continue
			}
			if found[name], err = io.ReadAll(tape); err != nil {
				return found, err
			}
		}
	}
	return found, nil
}
