package contract

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/isolation"
)

// Suite holds a machine to the contract; each part gets a machine of its own.
func Suite(t *testing.T, open func(t *testing.T) Machine) {
	for _, part := range []struct {
		name string
		test func(w *world)
	}{
		{"MakeTwice", makeTwice}, {"MakeUnwanted", makeUnwanted}, {"MakeUnbegun", makeUnbegun}, {"Adopt", adopt},
		{"Audit", audit}, {"Exit", exit},
		{"ExitOfTheDead", exitOfTheDead}, {"Stop", stop}, {"TakeTwice", takeTwice}, {"TakeUnmade", takeUnmade},
		{"MakeAfterTake", makeAfterTake}, {"Spawn", spawn}, {"Forget", forget}, {"Note", note}, {"Limits", limits},
		{"Ports", ports}, {"Egress", egress},
		{"Restriction", restriction}, {"Bandwidth", bandwidth}, {"Counters", counters}, {"Memory", memory},
		{"Probe", probe},
	} {
		t.Run(part.name, func(t *testing.T) {
			m := open(t)
			part.test(&world{t, m, m.Kernel()})
		})
	}
}

// Whoever makes a container a second time is told so, and harms nothing.
func makeTwice(w *world) {
	status := w.make(1, Sleeps)
	id := status.Spec.ID
	job := w.Job(1, Sleeps)
	_, err := w.k.Create(w.ctx(), status.Spec, &job)
	w.is("a second create", err, fs.ErrExist)
	if j, ok := w.job(id, 1); !ok || j.Exit != nil {
		w.t.Errorf("its job is %+v", j)
	}
	if got := w.ids(); !slices.Equal(got, []string{id}) {
		w.t.Errorf("listed %q, want %s once", got, id)
	}
	w.take(id)
}

// Nothing is left of a container whose making nobody waits for.
func makeUnwanted(w *world) {
	ctx, cancel := context.WithCancel(w.ctx())
	cancel()
	spec, job := w.Spec(1), w.Job(1, Sleeps)
	_, err := w.k.Create(ctx, spec, &job)
	w.refused("create", err)
	if left := w.ids(); len(left) > 0 {
		w.t.Errorf("%q are left", left)
	}
	_, err = w.k.Adopt(w.ctx(), spec.ID)
	w.is("adopt", err, isolation.ErrUnknown)
	if _, err = w.k.Create(w.ctx(), spec, &job); err != nil { // later it is
		w.t.Fatal(err)
	}
	w.take(spec.ID)
}

// What died before it said a word can be made again, what ended can't.
func makeUnbegun(w *world) {
	made := w.make(1, Sleeps)
	id, job := made.Spec.ID, w.Job(1, ExitsIn7)
	w.KillInit(made)
	_, err := w.k.Adopt(w.ctx(), id)
	w.is("adopt of what never began", err, isolation.ErrUnbegun)
	w.is("adopt of what never began", err, isolation.ErrGone)
	again, err := w.k.Create(w.ctx(), made.Spec, &job)
	if err != nil {
		w.t.Fatal(err)
	}
	if got := w.ids(); !slices.Equal(got, []string{id}) {
		w.t.Errorf("listed %q, want %s once", got, id)
	}
	if e := w.wait(id, 1); e.Code != 7 || e.Lost {
		w.t.Errorf("its job ended with %+v", e)
	}
	w.KillInit(again)
	_, err = w.k.Adopt(w.ctx(), id)
	w.is("adopt of what ended", err, isolation.ErrGone)
	if errors.Is(err, isolation.ErrUnbegun) {
		w.t.Errorf("adopt of what ended: %v", err)
	}
	_, err = w.k.Create(w.ctx(), made.Spec, &job)
	w.is("create of what ended", err, fs.ErrExist)
	w.take(id)
}

// Of what nobody harmed an audit says nothing, dead or alive.
func audit(w *world) {
	made, other := w.make(1, Sleeps), w.make(2, "")
	for range 2 {
		found, err := w.k.Audit(w.ctx())
		w.ok("audit", err)
		if len(found) > 0 {
			w.t.Errorf("found %+v", found)
		}
	}
	w.KillInit(other)
	found, err := w.k.Audit(w.ctx())
	w.ok("audit", err)
	if len(found) > 0 {
		w.t.Errorf("of the dead it found %+v", found)
	}
	w.take(made.Spec.ID)
	w.take(other.Spec.ID)
}

// A container is adopted as often as anybody asks, dead or alive, until it is gone.
func adopt(w *world) {
	_, err := w.k.Adopt(w.ctx(), w.Spec(1).ID)
	w.is("adopt of none", err, isolation.ErrUnknown)
	made := w.make(1, Sleeps)
	id := made.Spec.ID
	for range 2 {
		status, err := w.k.Adopt(w.ctx(), id)
		w.ok("adopt", err)
		if len(status.Jobs) != 1 || status.Jobs[0].Exit != nil || status.PeerIP != made.PeerIP || status.Spec.ID != id {
			w.t.Errorf("adopted %+v, made %+v", status, made)
		}
	}
	w.KillInit(made)
	for range 2 {
		_, err = w.k.Adopt(w.ctx(), id)
		w.is("adopt of the dead", err, isolation.ErrGone)
	}
	w.ok("destroy", w.k.Destroy(w.ctx(), id))
	_, err = w.k.Adopt(w.ctx(), id)
	w.is("adopt of what was destroyed", err, isolation.ErrGone)
	w.ok("release", w.k.Release(w.ctx(), []string{id}))
	_, err = w.k.Adopt(w.ctx(), id)
	w.is("adopt of what was released", err, isolation.ErrUnknown)
}

// A job's end is told to everybody who asks, now or later.
func exit(w *world) {
	id := w.make(1, ExitsIn7).Spec.ID
	for range 2 {
		if e := w.wait(id, 1); e.Code != 7 || e.Signal != 0 || e.Job != 1 || e.Lost || e.Ordered {
			w.t.Errorf("it ended with %+v", e)
		}
	}
	if j, ok := w.job(id, 1); !ok || j.Exit == nil || j.Exit.Code != 7 {
		w.t.Errorf("it is adopted with %+v", j)
	}
	w.take(id)
	second := w.make(2, Sleeps).Spec.ID
	ctx, cancel := context.WithCancel(w.ctx())
	cancel()
	_, err := w.k.Wait(ctx, second, 1)
	w.refused("a wait that nobody wants", err)
	w.take(second)
}

// How a job ended is known of a dead container too; of one that ran it is not.
func exitOfTheDead(w *world) {
	made := w.make(1, ExitsIn7)
	id := made.Spec.ID
	w.wait(id, 1)
	w.ok("spawn", w.k.Spawn(w.ctx(), id, w.Job(2, Sleeps)))
	w.KillInit(made)
	if e := w.wait(id, 1); e.Code != 7 || e.Lost {
		w.t.Errorf("what had ended before is told as %+v", e)
	}
	if e := w.wait(id, 2); !e.Lost {
		w.t.Errorf("what ran is told as %+v", e)
	}
	w.take(id)
}

// A stop ends every job, by force where that is needed, and may be repeated.
func stop(w *world) {
	id := w.make(1, Stubborn).Spec.ID
	w.ok("spawn", w.k.Spawn(w.ctx(), id, w.Job(2, Sleeps)))
	for range 2 {
		w.ok("stop", w.k.Stop(w.ctx(), id, 200*time.Millisecond))
	}
	for _, number := range []uint32{1, 2} {
		if e := w.wait(id, number); !e.Ordered || e.Signal == 0 {
			w.t.Errorf("job %d ended with %+v", number, e)
		}
	}
	if _, err := w.k.Adopt(w.ctx(), id); err != nil {
		w.t.Errorf("a stopped container's init: %v", err)
	}
	w.take(id)
	w.ok("stop of none", w.k.Stop(w.ctx(), id, 0))
}

// Every half of taking down may be repeated.
func takeTwice(w *world) {
	id := w.make(1, Sleeps).Spec.ID
	for range 2 {
		w.ok("destroy", w.k.Destroy(w.ctx(), id))
	}
	if got := w.ids(); len(got) != 1 {
		w.t.Errorf("listed %q: what was destroyed and not released must be there", got)
	}
	for range 2 {
		w.ok("release", w.k.Release(w.ctx(), []string{id}))
	}
	w.ok("destroy of what is gone", w.k.Destroy(w.ctx(), id))
	if left := w.ids(); len(left) > 0 {
		w.t.Errorf("%q are left", left)
	}
}

// Taking down what never was is done at once.
func takeUnmade(w *world) {
	id := w.Spec(1).ID
	w.ok("destroy", w.k.Destroy(w.ctx(), id))
	w.ok("release", w.k.Release(w.ctx(), []string{id}))
	w.ok("release of nothing", w.k.Release(w.ctx(), nil))
}

// A slot is free for the next once the last was released.
func makeAfterTake(w *world) {
	first := w.make(1, Sleeps).Spec.ID
	other := w.make(2, Sleeps).Spec.ID
	w.ok("destroy", w.k.Destroy(w.ctx(), first))
	w.ok("destroy", w.k.Destroy(w.ctx(), other))
	w.ok("release", w.k.Release(w.ctx(), []string{first, other}))
	spec, job := w.Spec(1), w.Job(1, Sleeps)
	spec.Epoch = 2
	if _, err := w.k.Create(w.ctx(), spec, &job); err != nil {
		w.t.Fatal(err)
	}
	w.take(spec.ID)
}

// Jobs come one after the other; a number is used once.
func spawn(w *world) {
	made := w.make(1, "")
	id := made.Spec.ID
	w.ok("spawn", w.k.Spawn(w.ctx(), id, w.Job(1, ExitsIn7)))
	w.ok("spawn of another", w.k.Spawn(w.ctx(), id, w.Job(2, Sleeps)))
	w.refused("a number a second time", w.k.Spawn(w.ctx(), id, w.Job(2, ExitsIn7)))
	if e := w.wait(id, 1); e.Code != 7 || e.Job != 1 {
		w.t.Errorf("it ended with %+v", e)
	}
	if j, ok := w.job(id, 2); !ok || j.Exit != nil {
		w.t.Errorf("the other is %+v", j)
	}
	w.refused("spawn in none", w.k.Spawn(w.ctx(), w.Spec(2).ID, w.Job(1, Sleeps)))
	w.KillInit(made)
	w.refused("spawn in the dead", w.k.Spawn(w.ctx(), id, w.Job(3, Sleeps)))
	w.take(id)
}

// A job that is forgotten is nobody's any more, and its number stays used.
func forget(w *world) {
	id := w.make(1, "").Spec.ID
	w.ok("spawn", w.k.Spawn(w.ctx(), id, w.Job(1, ExitsIn7)))
	w.wait(id, 1)
	for range 2 {
		w.ok("forget", w.k.Forget(w.ctx(), id, 1))
	}
	if j, ok := w.job(id, 1); ok {
		w.t.Errorf("it is still there: %+v", j)
	}
	w.refused("its number again", w.k.Spawn(w.ctx(), id, w.Job(1, ExitsIn7)))
	w.ok("spawn", w.k.Spawn(w.ctx(), id, w.Job(2, Sleeps)))
	w.refused("forget of what runs", w.k.Forget(w.ctx(), id, 2))
	w.take(id)
}

// A note is kept with the container, dead or alive.
func note(w *world) {
	made := w.make(1, "")
	id := made.Spec.ID
	for _, text := range []string{`{"a":1}`, `{"a":2}`} {
		w.ok("note", w.k.Note(w.ctx(), id, json.RawMessage(text)))
		if got := string(w.listed(id).Note); got != text {
			w.t.Errorf("the note is %s, want %s", got, text)
		}
	}
	w.KillInit(made)
	w.ok("note of the dead", w.k.Note(w.ctx(), id, json.RawMessage(`{"a":3}`)))
	if got := string(w.listed(id).Note); got != `{"a":3}` {
		w.t.Errorf("the note of the dead is %s", got)
	}
	w.is("note of none", w.k.Note(w.ctx(), w.Spec(2).ID, json.RawMessage(`{}`)), isolation.ErrUnknown)
	w.take(id)
}

// Limits become others one by one, and are on record.
func limits(w *world) {
	made := w.make(1, "")
	id := made.Spec.ID
	memory, shares := int64(32<<20), uint64(512)
	for range 2 {
		got, err := w.k.Limit(w.ctx(), id, isolation.LimitChange{MemoryBytes: &memory})
		w.ok("limit memory", err)
		if got.MemoryBytes != memory {
			w.t.Errorf("memory is limited to %d", got.MemoryBytes)
		}
	}
	got, err := w.k.Limit(w.ctx(), id, isolation.LimitChange{CPUShares: &shares})
	w.ok("limit cpu", err)
	if got.CPUShares != shares || got.MemoryBytes != memory {
		w.t.Errorf("limits are %+v", got)
	}
	if spec := w.listed(id); spec.Limits.MemoryBytes != memory || spec.Limits.CPUShares != shares {
		w.t.Errorf("limits on record are %+v", spec.Limits)
	}
	_, err = w.k.Limit(w.ctx(), w.Spec(2).ID, isolation.LimitChange{CPUShares: &shares})
	w.is("limit of none", err, isolation.ErrUnknown)
	w.KillInit(made)
	_, err = w.k.Limit(w.ctx(), id, isolation.LimitChange{CPUShares: &shares})
	w.is("limit of the dead", err, isolation.ErrGone)
	w.take(id)
}

// A port of the node leads to one place, and that is on record.
func ports(w *world) {
	made := w.make(1, "")
	id := made.Spec.ID
	for range 2 {
		w.ok("map", w.k.Map(w.ctx(), id, isolation.PortMap{Host: Port, Container: Port}))
	}
	want := []isolation.PortMap{{Host: Port, Container: Port}}
	if got := w.listed(id).Network.Ports; !slices.Equal(got, want) {
		w.t.Errorf("ports are %v", got)
	}
	w.refused("another end of it", w.k.Map(w.ctx(), id, isolation.PortMap{Host: Port, Container: Port + 1}))
	other := w.make(2, "").Spec.ID
	w.refused("a port of another's", w.k.Map(w.ctx(), other, isolation.PortMap{Host: Port, Container: Port}))
	if got := w.listed(other).Network.Ports; len(got) > 0 {
		w.t.Errorf("what was refused is on record: %v", got)
	}
	further := isolation.PortMap{Host: Port + 2, Container: 1}
	w.is("a port of none", w.k.Map(w.ctx(), w.Spec(3).ID, further), isolation.ErrUnknown)
	w.KillInit(made)
	w.is("a port of the dead", w.k.Map(w.ctx(), id, further), isolation.ErrGone)
	w.take(id)
	w.ok("a port that was given back", w.k.Map(w.ctx(), other, isolation.PortMap{Host: Port, Container: Port}))
	w.take(other)
}

// The newest rule is the first, and none is there twice.
func egress(w *world) {
	made := w.make(1, "")
	id := made.Spec.ID
	one, two := egressTo("192.0.2.1"), egressTo("192.0.2.2")
	for _, r := range []isolation.EgressRule{one, two, one} {
		w.ok("allow", w.k.Allow(w.ctx(), id, r))
	}
	rules := w.listed(id).Network.Egress
	if len(rules) != 2 || rules[0].First != one.First || rules[1].First != two.First {
		w.t.Errorf("rules are %+v", rules)
	}
	w.is("a rule of none", w.k.Allow(w.ctx(), w.Spec(2).ID, one), isolation.ErrUnknown)
	w.KillInit(made)
	w.is("a rule of the dead", w.k.Allow(w.ctx(), id, one), isolation.ErrGone)
	w.take(id)
}

func egressTo(address string) isolation.EgressRule {
	a := netip.MustParseAddr(address)
	return isolation.EgressRule{Protocol: "tcp", First: a, Last: a}
}

// The last rules are all that there are; what is refused changes none of them.
func restriction(w *world) {
	made := w.make(1, "")
	id := made.Spec.ID
	first, second, third := egressTo("192.0.2.1"), egressTo("192.0.2.2"), egressTo("192.0.2.3")
	is := func(want ...isolation.EgressRule) {
		w.t.Helper()
		got := w.listed(id).Network.Egress
		if !slices.EqualFunc(got, want, func(a, b isolation.EgressRule) bool { return a.First == b.First }) {
			w.t.Errorf("rules are %+v, want %+v", got, want)
		}
	}
	w.ok("allow", w.k.Allow(w.ctx(), id, first))
	given := []isolation.EgressRule{second, third}
	for range 2 {
		w.ok("restrict", w.k.Restrict(w.ctx(), id, given))
		is(second, third)
	}
	given[0] = first // the caller's own
	is(second, third)
	wrong := third
	wrong.Protocol = "sctp"
	w.refused("a wrong rule", w.k.Restrict(w.ctx(), id, []isolation.EgressRule{first, wrong}))
	is(second, third)
	w.ok("allow", w.k.Allow(w.ctx(), id, first))
	is(first, second, third)
	w.ok("restrict to none", w.k.Restrict(w.ctx(), id, nil))
	is()
	w.is("rules of none", w.k.Restrict(w.ctx(), w.Spec(2).ID, given), isolation.ErrUnknown)
	w.KillInit(made)
	w.is("rules of the dead", w.k.Restrict(w.ctx(), id, given), isolation.ErrGone)
	w.take(id)
}

// The last limit on traffic counts, and none is no limit.
func bandwidth(w *world) {
	made := w.make(1, "")
	id := made.Spec.ID
	for _, rate := range []uint64{1 << 20, 2 << 20} {
		w.ok("shape", w.k.Shape(w.ctx(), id, isolation.Bandwidth{Rate: rate, Burst: 1 << 16}))
		if got := w.listed(id).Limits.Bandwidth; got.Rate != rate {
			w.t.Errorf("the rate is %d, want %d", got.Rate, rate)
		}
	}
	w.refused("no rate", w.k.Shape(w.ctx(), id, isolation.Bandwidth{}))
	some := isolation.Bandwidth{Rate: 1 << 20, Burst: 1 << 16}
	w.is("shape of none", w.k.Shape(w.ctx(), w.Spec(2).ID, some), isolation.ErrUnknown)
	w.KillInit(made)
	w.is("shape of the dead", w.k.Shape(w.ctx(), id, some), isolation.ErrGone)
	w.take(id)
}

// There are counters of what lives, and of nothing else.
func counters(w *world) {
	made := w.make(1, Sleeps)
	id := made.Spec.ID
	_, err := w.k.Usage(w.ctx(), id)
	w.ok("usage", err)
	rate := isolation.Bandwidth{Rate: 1 << 20, Burst: 1 << 16}
	w.ok("shape", w.k.Shape(w.ctx(), id, rate))
	stats, err := w.k.Stats(w.ctx(), id)
	w.ok("stats", err)
	if stats.Bandwidth != rate {
		w.t.Errorf("bandwidth is %+v, want %+v", stats.Bandwidth, rate)
	}
	_, err = w.k.Stats(w.ctx(), w.Spec(2).ID)
	w.is("stats of none", err, isolation.ErrUnknown)
	_, err = w.k.Usage(w.ctx(), w.Spec(2).ID)
	w.is("usage of none", err, isolation.ErrUnknown)
	w.KillInit(made)
	_, err = w.k.Stats(w.ctx(), id)
	w.is("stats of the dead", err, isolation.ErrGone)
	_, err = w.k.Usage(w.ctx(), id)
	w.is("usage of the dead", err, isolation.ErrGone)
	w.take(id)
}

// Who watches the memory of a container hears of its end.
func memory(w *world) {
	_, err := w.k.WaitOOM(w.ctx(), w.Spec(1).ID, 0)
	w.is("memory of none", err, isolation.ErrUnknown)
	made := w.make(1, Sleeps)
	told := make(chan error, 1)
	go func() {
		_, err := w.k.WaitOOM(w.ctx(), made.Spec.ID, 0)
		told <- err
	}()
	w.KillInit(made)
	w.is("memory of the dead", <-told, isolation.ErrGone)
	w.take(made.Spec.ID)
}

// A port answers while somebody listens and the container is not destroyed.
func probe(w *world) {
	silent := w.make(2, Sleeps)
	w.refused("a probe of a silent one", w.k.Probe(w.ctx(), netip.AddrPortFrom(silent.PeerIP, Port)))
	made := w.make(1, Listens)
	address := netip.AddrPortFrom(made.PeerIP, Port)
	for begun := time.Now(); w.k.Probe(w.ctx(), address) != nil; {
		if time.Since(begun) > patience {
			w.t.Fatal("nobody listens")
		}
	}
	w.ok("destroy", w.k.Destroy(w.ctx(), made.Spec.ID))
	w.refused("a probe of what was destroyed", w.k.Probe(w.ctx(), address))
	w.ok("release", w.k.Release(w.ctx(), []string{made.Spec.ID}))
	w.take(silent.Spec.ID)
}
