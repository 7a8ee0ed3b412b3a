package warden

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

var update = flag.Bool("update", false, "rewrite the golden files; read the difference before you commit it")

// compare holds a frame to the golden file, which is a dump to be read.
func compare(t *testing.T, file string, frame []byte) {
	t.Helper()
	path, dump := filepath.Join("testdata", file+".hex"), hex.Dump(frame)
	if *update {
		if err := os.WriteFile(path, []byte(dump), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), dump); diff != "" {
		t.Errorf("the frame differs from %s (-want +got):\n%s", path, diff)
	}
}

// only is the one message in a frame.
func only(t *testing.T, frame []byte) Message {
	t.Helper()
	r := NewReader(bytes.NewReader(frame))
	m, err := r.Next()
	if err != nil {
		t.Fatalf("%q: %v", frame, err)
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Fatalf("%q: after the frame: %v, want the end", frame, err)
	}
	return m
}

// expect holds a message to what is to be heard in it.
func expect(t *testing.T, m Message, kind Type, want proto.Message) {
	t.Helper()
	got := want.ProtoReflect().New().Interface()
	if err := Parse(m, got); err != nil {
		t.Fatal(err)
	}
	if m.Type != kind {
		t.Errorf("type %v, want %v", m.Type, kind)
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error("-told +heard:\n", diff)
	}
}

func TestEveryRequestIsUnderstoodAsItWasMeant(t *testing.T) {
	for _, sample := range sampleRequests {
		t.Run(sample.file, func(t *testing.T) {
			frame, err := Frame(sample.kind, sample.request)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, sample.file, frame)
			m := only(t, frame)
			expect(t, m, sample.kind, sample.request)
			if sample.command == nil {
				return
			}
			got, err := Decode(m, asker)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(sample.command, got); diff != "" {
				t.Error("-meant +understood:\n", diff)
			}
		})
	}
}

func TestEveryAnswerIsSpokenAsTheWireHasIt(t *testing.T) {
	for _, sample := range sampleAnswers {
		t.Run(sample.file, func(t *testing.T) {
			frame, err := Encode(sample.kind, sample.answer)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, sample.file, frame)
			expect(t, only(t, frame), sample.kind, sample.response)
		})
	}
}

// An error has a type of its own, whatever was asked.
func TestAFailureAnswersEveryRequest(t *testing.T) {
	for number := range protocol.Message_Type_name {
		frame, err := Encode(Type(number), messaging.Failed{Text: "unknown handle"})
		if err != nil {
			t.Fatal(err)
		}
		compare(t, "error_response", frame)
	}
	frame, err := Encode(TypeStop, messaging.Failed{})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, only(t, frame), TypeError, &protocol.ErrorResponse{Message: new("")})
}

func TestPingAndEchoAreAnsweredWithoutTheNode(t *testing.T) {
	for kind, c := range map[Type]struct {
		request, response proto.Message
		file              string
	}{
		TypePing: {&protocol.PingRequest{}, &protocol.PingResponse{}, "ping_response"},
		TypeEcho: {&protocol.EchoRequest{Message: new("\xff\x00")}, &protocol.EchoResponse{Message: new("\xff\x00")}, "echo_response"},
	} {
		request, err := Frame(kind, c.request)
		if err != nil {
			t.Fatal(err)
		}
		frame, local, err := Local(only(t, request))
		if err != nil || !local {
			t.Fatalf("%v: local %v, error %v", kind, local, err)
		}
		compare(t, c.file, frame)
		expect(t, only(t, frame), kind, c.response)
	}
}

// What isn't a command of the node's is Local's, and the other way round.
func TestEveryTypeButTheErrorIsTakenByOneSide(t *testing.T) {
	for number := range protocol.Message_Type_name {
		kind := Type(number)
		_, local, _ := Local(Message{kind, nil})
		_, decoded := decoders[kind]
		if want := kind != TypeError; (local || decoded) != want || local && decoded {
			t.Errorf("%v: local %v, decoded %v", kind, local, decoded)
		}
	}
}

func TestOutputComesInChunks(t *testing.T) {
	for file, data := range map[string]string{
		"stream_response_chunk":      "x\n",
		"stream_response_chunk_raw":  "\xff\x00\r\n",
		"stream_response_chunk_long": strings.Repeat("x", 300),
	} {
		frame := Chunk("stdout", []byte(data))
		compare(t, file, frame)
		want := &protocol.StreamResponse{Name: new("stdout"), Data: &data}
		expect(t, only(t, frame), TypeStream, want)

		apart := append(AppendChunkHead(nil, "stdout", len(data)), data+FrameEnd...)
		if !bytes.Equal(apart, frame) {
			t.Errorf("%s: in parts it is %q, in one %q", file, apart, frame)
		}
		framed, err := Frame(TypeStream, want)
		if err != nil || !bytes.Equal(framed, frame) {
			t.Errorf("%s: the generated code makes %q of it, error %v", file, framed, err)
		}
	}
}

func TestAChunkIsOneAllocation(t *testing.T) {
	data := make([]byte, 64<<10)
	if n := testing.AllocsPerRun(100, func() { Chunk("stderr", data) }); n != 1 {
		t.Errorf("%v allocations, want 1", n)
	}
	room := make([]byte, 0, chunkHeadMax+len("stderr"))
	if n := testing.AllocsPerRun(100, func() { AppendChunkHead(room, "stderr", MessageMax) }); n != 0 {
		t.Errorf("%v allocations for a head with room, want none", n)
	}
}

func TestAnAnswerToSomethingElseIsNotSpoken(t *testing.T) {
	for want, c := range map[string]struct {
		kind   Type
		answer messaging.Answer
	}{
		"warden: encode Create: messaging.Done is no answer to it":             {TypeCreate, messaging.Done{}},
		"warden: encode Stop: messaging.ContainerCreated is no answer to it":   {TypeStop, messaging.ContainerCreated{}},
		"warden: encode Spawn: messaging.JobLinked is no answer to it":         {TypeSpawn, messaging.JobLinked{}},
		"warden: encode Link: messaging.JobStreamed is no answer to it":        {TypeLink, messaging.JobStreamed{}},
		"warden: encode LimitDisk: messaging.MemoryLimited is no answer to it": {TypeLimitDisk, messaging.MemoryLimited{}},
		"warden: encode Ping: messaging.Done is no answer to it":               {TypePing, messaging.Done{}},
		"warden: encode Error: messaging.Done is no answer to it":              {TypeError, messaging.Done{}},
		"warden: encode 99: messaging.Done is no answer to it":                 {99, messaging.Done{}},
		"warden: encode Info: <nil> is no answer to it":                        {TypeInfo, nil},
	} {
		if frame, err := Encode(c.kind, c.answer); err == nil || err.Error() != want {
			t.Errorf("%+v: %q, error %v, want %q", c.answer, frame, err, want)
		}
	}
}

func TestAnAnswerThatNoReaderTakesIsNotSpoken(t *testing.T) {
	a := messaging.JobLinked{Stdout: make([]byte, MessageMax/2), Stderr: make([]byte, MessageMax/2-64)}
	frame, err := Encode(TypeLink, a)
	if err != nil {
		t.Fatal(err)
	}
	only(t, frame)
	a.Stderr = make([]byte, MessageMax/2)
	if _, err := Encode(TypeLink, a); err == nil || err.Error() != "warden: encode Link: longer than 67108864 bytes" {
		t.Errorf("error %v", err)
	}
}

func TestAFrameOfWhatIsIncompleteIsNotMade(t *testing.T) {
	if frame, err := Frame(TypeStop, &protocol.StopRequest{Kill: new(true)}); err == nil || !strings.Contains(err.Error(), "handle") {
		t.Errorf("%q, error %v, want one that names the handle", frame, err)
	}
}
