package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
)

// cni calls the bridge plugin as a container engine does.
type cni struct{ config []byte }

// newCNI gives every row a bridge and a network of its own.
func newCNI(s *stand, shop *workshop, row string) *cni {
	subnet := map[string]string{"crun": "10.252.0.0/16", "runc": "10.253.0.0/16"}[row]
	config, err := json.Marshal(map[string]any{
		"cniVersion": "0.4.0", "name": group + "-" + row, "type": "bridge", "bridge": "bench-" + row,
		"isGateway": true, "ipMasq": true,
		"ipam": map[string]any{
			"type": "host-local", "dataDir": filepath.Join(shop.folder, "cni"),
			"ranges": []any{[]any{map[string]any{"subnet": subnet}}},
			"routes": []any{map[string]any{"dst": "0.0.0.0/0"}},
		},
	})
	s.must(err)
	return &cni{config: config}
}

func (c *cni) add(id, netns string) error { return c.call("ADD", id, netns) }
func (c *cni) del(id, netns string) error { return c.call("DEL", id, netns) }

func (c *cni) call(command, id, netns string) error {
	var out bytes.Buffer
	cmd := exec.Command(filepath.Join(cniFolder, "bridge"))
	cmd.Env = append(cmd.Environ(), "CNI_COMMAND="+command, "CNI_CONTAINERID="+id, "CNI_NETNS="+netns,
		"CNI_IFNAME=eth0", "CNI_PATH="+cniFolder)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(c.config), &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("cni bridge %s: %w\n%s", command, err, out.String())
	}
	return nil
}
