package e2e

import (
	"fmt"
	"sync"
	"testing"
	"time"

	wardenclient "github.com/deacon-agent/deacon/messaging/warden/client"
	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

// A thousand containers are made, listed, inspected and destroyed, and nothing
// is left: the node's own end looks for that.
func TestAThousandContainersOfWardens(t *testing.T) {
	w := newWardens(t, "")
	const connections, each = 20, 50
	var group sync.WaitGroup
	clients := make([]*wardenclient.Client, connections)
	for i := range clients {
		clients[i] = w.dial()
	}
	phase := func(name string, act func(c *wardenclient.Client, handle string) error) {
		begun := time.Now()
		for i := range connections {
			group.Go(func() {
				for n := range each {
					if err := act(clients[i], fmt.Sprintf("container %d of %d", n, i)); err != nil {
						t.Errorf("%s: %v", name, err)
						return
					}
				}
			})
		}
		group.Wait()
		t.Logf("%s: %d in %s", name, connections*each, time.Since(begun).Round(time.Millisecond))
	}
	phase("create", func(c *wardenclient.Client, handle string) error {
		_, err := c.Create(w.ctx(), &protocol.CreateRequest{Handle: &handle})
		return err
	})
	listed, err := w.c.List(w.ctx())
	if err != nil || len(listed) != connections*each {
		t.Errorf("listed %d, %v", len(listed), err)
	}
	phase("info", func(c *wardenclient.Client, handle string) error {
		info, err := c.Info(w.ctx(), handle)
		if err == nil && info.GetState() != "active" {
			err = fmt.Errorf("%s is %s", handle, info.GetState())
		}
		return err
	})
	phase("destroy", func(c *wardenclient.Client, handle string) error { return c.Destroy(w.ctx(), handle) })
	if listed, err := w.c.List(w.ctx()); err != nil || len(listed) != 0 {
		t.Errorf("listed %q, %v", listed, err)
	}
}
