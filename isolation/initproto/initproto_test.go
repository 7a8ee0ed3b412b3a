package initproto

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/isolation/packet"
)

func TestBothLayersBoundAMessageAlike(t *testing.T) {
	if MessageMax != packet.MessageMax {
		t.Errorf("%d here, %d in packet", MessageMax, packet.MessageMax)
	}
}

// at has no monotonic part and no zone, as a decoded time has none.
var at = time.Unix(1764000000, 123456789)

func sampleJob() Job {
	return Job{
		Number: 7, Argv: []string{"/bin/sh", "-c", "", "ü\x00\xff"}, Env: []string{"A=1", "B="}, Dir: "/home/vcap",
		UID: 2000, GID: 2001, Groups: []uint32{0, 5, 4_000_000_000}, Umask: 0o077,
		Rlimits: []Rlimit{{resourceFiles, 1 << 40}, {resourceProcs, 512}, {4, 0}, {9, 1<<64 - 1}, {resourceFiles, 0}},
		PidFile: "/home/vcap/run.pid", OutputMax: 1 << 20,
	}
}

func sampleSetup() Setup {
	job := sampleJob()
	return Setup{
		ID: "abcdefghijk", Epoch: 3, Hostname: "h", Filter: []byte{1, 2, 3, 0}, Binds: []string{"/usr", "/home/vcap/app"},
		ShmBytes: 64 << 20, Join: JoinClone, Joins: 1,
		Link: &Link{Name: "eth0", Address: [4]byte{10, 1, 2, 3}, Prefix: 30, Gateway: [4]byte{10, 1, 2, 1}}, Job: &job,
	}
}

// same wants what is decoded from the encoded to be what was there before.
func same[T any](t *testing.T, want T, encoded []byte, decode func([]byte) (T, error)) {
	t.Helper()
	got, err := decode(encoded)
	if err != nil {
		t.Errorf("%T: %v", want, err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%T: got %+v, want %+v", want, got, want)
	}
	// A message of another kind, or cut short anywhere, is none.
	if _, err := decode(append([]byte{0xff, 0xff}, encoded[2:]...)); !errors.Is(err, ErrMalformed) {
		t.Errorf("%T of another kind: %v", want, err)
	}
	if _, err := decode(encoded[:len(encoded)-1]); len(encoded) > kindSize && !errors.Is(err, ErrMalformed) {
		t.Errorf("%T cut short: %v", want, err)
	}
}

func TestEveryMessageComesBackAsItWas(t *testing.T) {
	exit := Exit{Job: 7, Code: -1, Signal: 11, OOMKills: 1 << 40, Ordered: true, At: at}
	same(t, sampleSetup(), sampleSetup().Encode(), DecodeSetup)
	same(t, Setup{ID: "bare", Filter: []byte{}}, Setup{ID: "bare"}.Encode(), DecodeSetup)
	same(t, Spawn{sampleJob()}, Spawn{sampleJob()}.Encode(), DecodeSpawn)
	same(t, Failed{7, "mount /proc", "no such device"}, Failed{7, "mount /proc", "no such device"}.Encode(), DecodeFailed)
	same(t, Stop{10_000}, Stop{10_000}.Encode(), DecodeStop)
	same(t, Clone{9, "abcdefghijk", 1_000_000, 65_536, true}, Clone{9, "abcdefghijk", 1_000_000, 65_536, true}.Encode(), DecodeClone)
	same(t, Cloned{9, 4711, "no"}, Cloned{9, 4711, "no"}.Encode(), DecodeCloned)
	same(t, exit, Exited(exit), DecodeExited)
	hello := Hello{Version: Version, Needs: 1, ID: "abcdefghijk", Epoch: 3, Jobs: []JobState{{Number: 1, PID: 12}, {Number: 2, Exit: &exit}}}
	same(t, hello, hello.Encode(), DecodeHello)
	for _, kind := range []Kind{KindSetupDone, KindSpawned} {
		same(t, Started{7, 12}, Started{7, 12}.Encode(kind), func(b []byte) (Started, error) { return DecodeStarted(b, kind) })
	}
	if kind, err := KindOf(Stopped()); err != nil || kind != KindStopped {
		t.Errorf("stopped is of kind %d, %v", kind, err)
	}
}

// An agent may be older or newer than the PID 1 that it speaks to.
func TestAFieldThatIsNotKnownIsSkipped(t *testing.T) {
	w := writer{sampleSetup().Encode()}
	w.string(999, "from the future")
	if got, err := DecodeSetup(w.b); err != nil || !reflect.DeepEqual(got, sampleSetup()) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestAJobWithoutNumberOrProgramIsNone(t *testing.T) {
	for _, j := range []Job{{Number: 1}, {Argv: []string{"/bin/true"}}} {
		if _, err := DecodeSpawn((Spawn{j}).Encode()); !errors.Is(err, ErrMalformed) {
			t.Errorf("%+v: %v", j, err)
		}
	}
}

// The record is what an agent believes of a job that nobody saw end.
func TestADamagedExitRecordIsNotBelieved(t *testing.T) {
	whole := EncodeExit(Exit{Job: 1, Code: 7, At: at})
	if len(whole) != ExitSize {
		t.Fatalf("%d bytes", len(whole))
	}
	for i := range whole {
		for bit := range 8 {
			torn := append([]byte{}, whole...)
			torn[i] ^= 1 << bit
			if e, err := DecodeExit(torn); err == nil {
				t.Errorf("byte %d bit %d: %+v", i, bit, e)
			}
		}
		if e, err := DecodeExit(whole[:i]); err == nil {
			t.Errorf("%d bytes of it: %+v", i, e)
		}
	}
}

func TestALongMessageIsNone(t *testing.T) {
	if _, err := DecodeSpawn(Spawn{Job{Number: 1, Argv: []string{strings.Repeat("x", MessageMax)}}}.Encode()); !errors.Is(err, ErrMalformed) {
		t.Errorf("error is %v", err)
	}
}

// Nothing that arrives may panic, and what is taken for a message is one: it
// encodes to something that decodes to the same.
func FuzzDecode(f *testing.F) {
	exit := Exit{Job: 7, Signal: 9, At: at}
	for _, seed := range [][]byte{
		sampleSetup().Encode(), Spawn{sampleJob()}.Encode(), Failed{1, "a", "b"}.Encode(), Stop{1}.Encode(), Exited(exit),
		Hello{Version: 1, ID: "x", Epoch: 2, Jobs: []JobState{{Number: 1, Exit: &exit}}}.Encode(), Clone{1, "x", 2, 3, true}.Encode(),
		Signal{7, 15}.Encode(), HangUp{7}.Encode(), Spawn{Job{Number: 7, Argv: []string{"x"}, Session: true, Terminal: true}}.Encode(),
		Cloned{1, 2, ""}.Encode(), Started{1, 2}.Encode(KindSpawned), EncodeExit(exit), {},
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		again(t, b, DecodeSetup, Setup.Encode)
		again(t, b, DecodeSpawn, Spawn.Encode)
		again(t, b, DecodeFailed, Failed.Encode)
		again(t, b, DecodeStop, Stop.Encode)
		again(t, b, DecodeHello, Hello.Encode)
		again(t, b, DecodeSignal, Signal.Encode)
		again(t, b, DecodeHangUp, HangUp.Encode)
		again(t, b, DecodeClone, Clone.Encode)
		again(t, b, DecodeCloned, Cloned.Encode)
		again(t, b, DecodeExited, Exited)
		again(t, b, DecodeExit, EncodeExit)
		again(t, b, func(b []byte) (Started, error) { return DecodeStarted(b, KindSpawned) },
			func(s Started) []byte { return s.Encode(KindSpawned) })
	})
}

func again[T any](t *testing.T, b []byte, decode func([]byte) (T, error), encode func(T) []byte) {
	first, err := decode(b)
	if err != nil {
		return
	}
	encoded := encode(first)
	if len(encoded) > MessageMax { // an empty number took two bytes less than its zero
		return
	}
	second, err := decode(encoded)
	if err != nil || !reflect.DeepEqual(encode(second), encoded) {
		t.Errorf("%+v became %+v, %v", first, second, err)
	}
}
