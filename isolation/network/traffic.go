package network

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/deacon-agent/deacon/isolation"
)

// Traffic is what went through each link whose name begins with prefix, since it was
// made, as its container sees it: what the node's end received, the container sent.
// One read of the kernel's list answers for all of them.
func Traffic(prefix string) (map[string]isolation.Traffic, error) {
	body, err := os.ReadFile("/proc/thread-self/net/dev")
	if err != nil {
		return nil, fmt.Errorf("network: traffic: %w", err)
	}
	return parseTraffic(prefix, string(body)), nil
}

// Columns of /proc/net/dev behind a link's name.
const (
	receivedBytes, sentBytes = 0, 8
	trafficColumns           = 16
)

func parseTraffic(prefix, body string) map[string]isolation.Traffic {
	all := map[string]isolation.Traffic{}
	for line := range strings.Lines(body) {
		name, counts, found := strings.Cut(strings.TrimSpace(line), ":")
		if !found || !strings.HasPrefix(name, prefix) {
			continue
		}
		columns := strings.Fields(counts)
		if len(columns) < trafficColumns {
			continue
		}
		in, wrongIn := strconv.ParseUint(columns[receivedBytes], 10, 64)
		out, wrongOut := strconv.ParseUint(columns[sentBytes], 10, 64)
		if wrongIn == nil && wrongOut == nil {
			all[name] = isolation.Traffic{Received: out, Sent: in}
		}
	}
	return all
}
