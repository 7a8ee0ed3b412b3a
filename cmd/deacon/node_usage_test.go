package main

import (
	"encoding/json"
	"time"

	"github.com/nats-io/nats.go"
)

// usage answers deacon.v1.usage: every instance has used half of a core since
// it was last asked, as far as the clock of this node goes.
func (n *wireNode) usage(m *nats.Msg) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	instances := []map[string]any{}
	for _, row := range n.rows {
		instances = append(instances, map[string]any{
			"application": row["application"], "name": row["name"], "instance": row["instance"], "index": row["index"],
			"state": row["state"], "since": row["since"], "cpu_seconds": float64(n.asked),
			"memory_bytes": 30 << 20, "memory_limit_bytes": 256 << 20, "disk_bytes": 1 << 20, "disk_limit_bytes": 1 << 30,
			"processes": 3, "measured": row["state"] == "RUNNING",
		})
	}
	began := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	body, err := json.Marshal(map[string]any{
		"node": n.name, "address": "192.0.2.7", "version": "0.1.0", "zone": "z1", "since": time.Now().Add(-2 * time.Hour),
		"at": began.Add(time.Duration(n.asked) * 2 * time.Second), "instances": instances,
		"memory_mib": map[string]int{"capacity": 4096, "promised": 512}, "disk_mib": map[string]int{"capacity": 8192, "promised": 2048},
	})
	if err != nil {
		n.fault("%v", err)
		return
	}
	m.Respond(body)
}
