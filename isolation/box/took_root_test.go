package box

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"
)

// Every step of an operation is told of, once for each time it is made, and one that
// fails is told of as such.
func TestEveryStepIsTimed(t *testing.T) {
	m := newMachine(t)
	var mu sync.Mutex
	told, failed := map[string]int{}, map[string]int{}
	m.config.Took = func(operation, step string, took time.Duration, wrong bool) {
		mu.Lock()
		defer mu.Unlock()
		if took <= 0 || took > time.Minute {
			t.Errorf("%s %s took %s", operation, step, took)
		}
		told[operation+" "+step]++
		if wrong {
			failed[operation+" "+step]++
		}
	}
	b, _ := m.open()
	spec := m.spec(0)
	if _, err := b.Create(t.Context(), spec, shell(1, "sleep 60")); err != nil {
		t.Fatal(err)
	}
	bad := m.spec(1)
	bad.Rootfs.Layers = []string{"/nowhere"}
	if _, err := b.Create(t.Context(), bad, nil); err == nil {
		t.Error("a container has a layer that is not there")
	}
	if err := b.Destroy(t.Context(), spec.ID); err != nil {
		t.Error(err)
	}
	if err := b.Release(context.Background(), []string{spec.ID}); err != nil {
		t.Error(err)
	}
	m.end(b)
	mu.Lock()
	defer mu.Unlock()
	if got := slices.Sorted(maps.Keys(failed)); !slices.Equal(got, []string{"create rootfs", "create whole"}) {
		t.Errorf("told to have failed: %q", got)
	}
	for step, want := range map[string]int{
		"create intent": 2, "create clone": 2, "create cgroup": 2, "create files": 2, "create network": 2, "create disk": 2,
		"create rootfs": 2, "create init": 1, "create whole": 2, "destroy refuse": 1, "destroy kill": 1, "destroy whole": 1,
		"release remove": 2, // the undo of the one that failed is a release
	} {
		if told[step] != want {
			t.Errorf("%s was told of %d times, want %d", step, told[step], want)
		}
	}
}
