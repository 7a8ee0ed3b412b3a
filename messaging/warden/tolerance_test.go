package warden

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

// stranger has a field of each kind that no message knows.
func stranger() []byte {
	b := protowire.AppendVarint(protowire.AppendTag(nil, 1000, protowire.VarintType), 1)
	b = protowire.AppendFixed32(protowire.AppendTag(b, 1001, protowire.Fixed32Type), 1)
	b = protowire.AppendFixed64(protowire.AppendTag(b, 1002, protowire.Fixed64Type), 1)
	b = protowire.AppendString(protowire.AppendTag(b, 1003, protowire.BytesType), "later")
	b = protowire.AppendTag(b, 1004, protowire.StartGroupType)
	return protowire.AppendTag(b, 1004, protowire.EndGroupType)
}

func TestUnknownFieldsAreNotLookedAt(t *testing.T) {
	for _, sample := range sampleRequests {
		payload, err := proto.Marshal(sample.request)
		if err != nil {
			t.Fatal(err)
		}
		// Before and after what is known, in the payload and around it.
		m := Message{sample.kind, append(append(stranger(), payload...), stranger()...)}
		frame := AppendFrame(nil, m.Type, m.Payload)
		if got := only(t, frame); !cmp.Equal(m, got) {
			t.Errorf("%s: framed %v, read %v", sample.file, m, got)
		}
		if sample.command == nil {
			if _, local, err := Local(m); err != nil || !local {
				t.Errorf("%s: local %v, error %v", sample.file, local, err)
			}
			continue
		}
		got, err := Decode(m, asker)
		if err != nil {
			t.Errorf("%s: %v", sample.file, err)
		}
		if diff := cmp.Diff(sample.command, got); diff != "" {
			t.Errorf("%s: -meant +understood:\n%s", sample.file, diff)
		}
	}
}

func TestTheEnvelopesFieldsComeInAnyOrderAndTheLastCounts(t *testing.T) {
	for _, wire := range []string{
		"4\r\n\x12\x00\x08\x5b\r\n",
		"0004\r\n\x08\x5b\x12\x00\r\n",
		"6\r\n\x08\x5c\x12\x00\x08\x5b\r\n",
		"7\r\n\x08\x5b\x12\x01x\x12\x00\r\n",
		"9\r\n\x18\x01\x22\x01x\x08\x5b\x12\x00\r\n",
	} {
		if m := only(t, []byte(wire)); m.Type != TypePing || len(m.Payload) != 0 {
			t.Errorf("%q is read as %v", wire, m)
		}
	}
}

// Numbers were packed by encoders of other libraries; ours never does.
func TestRepeatedNumbersAreTakenPackedToo(t *testing.T) {
	want := &protocol.InfoResponse{JobIds: []uint64{1, 300}}
	for _, payload := range []string{"\xe2\x02\x03\x01\xac\x02", "\xe0\x02\x01\xe0\x02\xac\x02", "\xe0\x02\x01\xe2\x02\x02\xac\x02"} {
		expect(t, Message{TypeInfo, []byte(payload)}, TypeInfo, want)
	}
}

func TestAProtocolThatDoesNotExistIsTheDefault(t *testing.T) {
	got, err := Decode(Message{TypeNetOut, []byte("\x0a\x01h\x28\x0a")}, asker)
	if err != nil {
		t.Fatal(err)
	}
	if want := (messaging.AllowEgress{Ask: asker, Handle: "h", Protocol: "tcp"}); !cmp.Equal(got, messaging.Command(want)) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// notText is no UTF-8, as handles, paths and output may be.
const notText = "\xff\x00\xc3\x28\xed\xa0\x80"

// The library refuses strings that aren't UTF-8 in proto3 and in editions; it
// must not in any field of ours, both ways.
func TestEveryStringIsAnyBytes(t *testing.T) {
	strings := 0
	messages := protocol.File_messaging_warden_warden_proto.Messages()
	for i := range messages.Len() {
		kind := messages.Get(i)
		m := dynamicpb.NewMessage(kind)
		strings += fill(m)
		raw, err := proto.MarshalOptions{AllowPartial: true}.Marshal(m)
		if err != nil {
			t.Fatalf("%s: %v", kind.Name(), err)
		}
		known, err := protoregistry.GlobalTypes.FindMessageByName(kind.FullName())
		if err != nil {
			t.Fatal(err)
		}
		generated := known.New().Interface()
		if err := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(raw, generated); err != nil {
			t.Errorf("%s: %v", kind.Name(), err)
		}
		if diff := cmp.Diff(proto.Message(m), generated, protocmp.Transform()); diff != "" {
			t.Errorf("%s: -sent +read:\n%s", kind.Name(), diff)
		}
		again, err := proto.MarshalOptions{AllowPartial: true, Deterministic: true}.Marshal(generated)
		if err != nil || len(again) != len(raw) {
			t.Errorf("%s: sent again it is %q, error %v; was %q", kind.Name(), again, err, raw)
		}
	}
	if strings < 40 {
		t.Errorf("only %d strings were tried; the test looks in the wrong place", strings)
	}
}

// fill sets every string of a message, and counts them.
func fill(m protoreflect.Message) int {
	n := 0
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch value := protoreflect.ValueOfString(notText); {
		case f.Kind() == protoreflect.StringKind && f.IsList():
			m.Mutable(f).List().Append(value)
			n++
		case f.Kind() == protoreflect.StringKind:
			m.Set(f, value)
			n++
		case f.Kind() == protoreflect.MessageKind && f.IsList():
			n += fill(m.Mutable(f).List().AppendMutable().Message())
		case f.Kind() == protoreflect.MessageKind:
			n += fill(m.Mutable(f).Message())
		}
	}
	return n
}

func TestTheDisksLimitIsTheOneThatCounts(t *testing.T) {
	n := func(n uint64) *uint64 { return &n }
	type disk struct{ Blocks, Inodes *uint64 }
	for _, c := range []struct {
		why     string
		request *protocol.LimitDiskRequest
		want    disk
	}{
		{"nothing is given", &protocol.LimitDiskRequest{}, disk{}},
		{"hard beats the bare name", &protocol.LimitDiskRequest{Block: n(1), BlockHard: n(2)}, disk{Blocks: n(2)}},
		{"the bare name beats limit", &protocol.LimitDiskRequest{BlockLimit: n(1), Block: n(2)}, disk{Blocks: n(2)}},
		{"limit alone", &protocol.LimitDiskRequest{BlockLimit: n(1), InodeLimit: n(9)}, disk{n(1), n(9)}},
		{"any of blocks beats any of bytes", &protocol.LimitDiskRequest{BlockLimit: n(1), ByteHard: n(9000)}, disk{Blocks: n(1)}},
		{"bytes in their order", &protocol.LimitDiskRequest{ByteLimit: n(1024), Byte: n(2048)}, disk{Blocks: n(2)}},
		{"bytes in their order, hard", &protocol.LimitDiskRequest{Byte: n(1024), ByteHard: n(2048)}, disk{Blocks: n(2)}},
		{"bytes are rounded up", &protocol.LimitDiskRequest{Byte: n(1500)}, disk{Blocks: n(2)}},
		{"one byte is a block", &protocol.LimitDiskRequest{Byte: n(1)}, disk{Blocks: n(1)}},
		{"0 is no limit", &protocol.LimitDiskRequest{Byte: n(0), Inode: n(0)}, disk{n(0), n(0)}},
		{"all bytes that can be told", &protocol.LimitDiskRequest{Byte: n(math.MaxUint64)}, disk{Blocks: n(1 << 54)}},
		{"inodes in their order", &protocol.LimitDiskRequest{InodeLimit: n(1), Inode: n(2), InodeSoft: n(9)}, disk{Inodes: n(2)}},
		{"soft doesn't beat hard", &protocol.LimitDiskRequest{BlockSoft: n(1), ByteHard: n(2048)}, disk{Blocks: n(2)}},
		{"soft alone", &protocol.LimitDiskRequest{ByteSoft: n(1500), InodeSoft: n(9)}, disk{n(2), n(9)}},
		{"soft blocks beat soft bytes", &protocol.LimitDiskRequest{ByteSoft: n(1500), BlockSoft: n(9)}, disk{Blocks: n(9)}},
		{"a soft 0 lifts nothing", &protocol.LimitDiskRequest{BlockSoft: n(0), ByteSoft: n(0), InodeSoft: n(0)}, disk{}},
	} {
		c.request.Handle = new("h")
		payload, err := proto.Marshal(c.request)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(Message{TypeLimitDisk, payload}, asker)
		if err != nil {
			t.Fatal(err)
		}
		want := messaging.LimitDisk{Ask: asker, Handle: "h", Blocks: c.want.Blocks, Inodes: c.want.Inodes}
		if diff := cmp.Diff(messaging.Command(want), got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", c.why, diff)
		}
	}
}

func TestMoreBlocksThanBytesCanBeToldAreTheMost(t *testing.T) {
	frame, err := Encode(TypeLimitDisk, messaging.DiskLimited{Blocks: 1 << 54})
	if err != nil {
		t.Fatal(err)
	}
	var got protocol.LimitDiskResponse
	if err := Parse(only(t, frame), &got); err != nil || got.GetByte() != math.MaxUint64 || got.GetBlock() != 1<<54 {
		t.Errorf("got %v, error %v", &got, err)
	}
}
