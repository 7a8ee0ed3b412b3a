package network

import (
	"maps"
	"testing"

	"github.com/deacon-agent/deacon/isolation"
)

func TestTrafficIsTheContainersSide(t *testing.T) {
	const body = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:  100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
dcnab0a:18446744073709551615 7 0    0    0     0          0         0     2000      20    0    0    0     0       0          0
dcnab1a:     0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
dcncd0a:     9       0    0    0    0     0          0         0        9       0    0    0    0     0       0          0
dcnab2a: 1 2 3
`
	want := map[string]isolation.Traffic{"dcnab0a": {Received: 2000, Sent: 1<<64 - 1}, "dcnab1a": {}}
	if got := parseTraffic("dcnab", body); !maps.Equal(got, want) {
		t.Errorf("read %v, want %v", got, want)
	}
}
