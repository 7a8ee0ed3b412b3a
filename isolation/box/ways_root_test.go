package box

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/isolation"
)

// BenchmarkFirstByte is from Create to a program's first byte, in each way that
// an application is started, taken in turns so that all have the same weather.
func BenchmarkFirstByte(b *testing.B) {
	m := newMachine(b)
	box, _ := m.open()
	defer m.end(box)
	const script = `umask 077
export VCAP_APPLICATION='{}' VCAP_SERVICES='{}' MEMORY_LIMIT="64m" HOME="$PWD" TMPDIR="$PWD/tmp" PORT="1"
unset GEM_PATH
for f in app/.profile.d/*.sh; do
  if [ -r "$f" ]; then . "$f"; fi
done
echo $$ >> run.pid
exec /bin/bash -c '/usr/bin/head -c 1 /dev/zero'`
	ways := map[string][]string{
		"direct":   {"head", "-c", "1", "/dev/zero"},
		"shell":    {"/bin/bash", "-c", "head -c 1 /dev/zero"},
		"script":   {"/bin/bash", "-c", script},
		"no-start": nil, // the container alone
	}
	took := map[string][]time.Duration{}
	slot := uint32(0)
	for b.Loop() {
		for _, way := range slices.Sorted(maps.Keys(ways)) {
			spec := m.spec(slot%64, 61001)
			slot++
			var job *isolation.Job
			if ways[way] != nil {
				job = shell(1, "")
				job.Argv, job.PidFile = ways[way], "/home/vcap/run.pid"
			}
			took[way] = append(took[way], box.firstByte(b, spec, job))
		}
	}
	for way, durations := range took {
		slices.Sort(durations)
		b.ReportMetric(float64(durations[len(durations)/2].Microseconds())/1000, way+"-ms")
	}
	b.ReportMetric(0, "ns/op")
}

func (b *Box) firstByte(t testing.TB, spec isolation.Spec, job *isolation.Job) time.Duration {
	t.Helper()
	begun := time.Now()
	if _, err := b.Create(t.Context(), spec, job); err != nil {
		t.Fatal(err)
	}
	if job != nil {
		path := filepath.Join(b.folder(spec.ID).job(1), stdoutFile)
		for info, err := os.Stat(path); err != nil || info.Size() == 0; info, err = os.Stat(path) {
			if time.Since(begun) > 10*time.Second {
				t.Fatal("no byte came")
			}
		}
	}
	took := time.Since(begun)
	if err := b.Destroy(t.Context(), spec.ID); err != nil {
		t.Fatal(err)
	}
	if err := b.Release(t.Context(), []string{spec.ID}); err != nil {
		t.Fatal(err)
	}
	return took
}
