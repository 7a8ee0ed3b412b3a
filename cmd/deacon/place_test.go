package main

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/deacon-agent/deacon/messaging"
)

func offer(node string, memory, disk int64, counts map[string]int) messaging.Advertised {
	return messaging.Advertised{NodeID: node, Stacks: []string{"host"},
		MemoryMiB: memory, DiskMiB: disk, ApplicationCount: counts}
}

func TestTheNodeWithFewestInstancesComesBeforeTheOneWithMostMemory(t *testing.T) {
	offers := []messaging.Advertised{
		offer("big", 8000, 8000, map[string]int{"app": 1}),
		offer("small", 1000, 1000, nil),
	}
	nodes, err := place(offers, need{application: "app", memoryMiB: 100, diskMiB: 100}, 3)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"small", "big", "small"}; !slices.Equal(nodes, want) {
		t.Errorf("got %v, want %v", nodes, want)
	}
}

func TestANodeWithoutTheStackIsNotChosen(t *testing.T) {
	other := offer("other", 9000, 9000, nil)
	other.Stacks = []string{"cflinuxfs4"}
	nodes, err := place([]messaging.Advertised{other, offer("host", 1000, 1000, nil)},
		need{memoryMiB: 1, diskMiB: 1, stack: "host"}, 1)
	if err != nil || nodes[0] != "host" {
		t.Errorf("got %v, %v", nodes, err)
	}
}

func TestNoRoomSaysWhatThereIs(t *testing.T) {
	offers := []messaging.Advertised{offer("a", 300, 2000, nil), offer("b", 200, 9000, nil)}
	for _, c := range []struct {
		need  need
		count int
		want  string
	}{
		{need{memoryMiB: 512, diskMiB: 10}, 1,
			"no node has room: it needs 512 MiB of memory and 10 MiB of disk; the most that one has is 300 and 9000 MiB"},
		{need{memoryMiB: 200, diskMiB: 10}, 3, "no node has room for instance 3 of 3"},
		{need{memoryMiB: 1, diskMiB: 1, stack: "windows"}, 1, `no node has the stack "windows"; there is host`},
	} {
		_, err := place(offers, c.need, c.count)
		f, ok := errors.AsType[*failure](err)
		if !ok || f.code != exitNoRoom || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want %q", c.need, err, c.want)
		}
	}
}

// Whatever the offers, no node is given more than it offered.
func TestPlacementNeverPromisesMoreThanWasOffered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var offers []messaging.Advertised
		room := map[string]int64{}
		for i := range rapid.IntRange(1, 5).Draw(t, "nodes") {
			node := string(rune('a' + i))
			room[node] = rapid.Int64Range(0, 4096).Draw(t, "memory")
			offers = append(offers, offer(node, room[node], 1<<20, nil))
		}
		memory := rapid.Int64Range(1, 2048).Draw(t, "each")
		count := rapid.IntRange(1, 20).Draw(t, "count")
		nodes, err := place(offers, need{memoryMiB: memory, diskMiB: 1}, count)
		var most int64
		for _, offered := range room {
			most += offered / memory
		}
		if (err == nil) != (most >= int64(count)) {
			t.Fatalf("%d of %d MiB in %v: %v", count, memory, room, err)
		}
		for _, node := range nodes {
			if room[node] -= memory; room[node] < 0 {
				t.Fatalf("node %s was given too much: %v", node, nodes)
			}
		}
	})
}
