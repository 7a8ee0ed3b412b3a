package client

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

var h = proto.String("h")

// golden is a frame of wire/warden.md (a).
func golden(text string) []byte {
	raw, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		panic(err)
	}
	return raw
}

var calls = []struct {
	name      string
	hear, say []byte
	call      func(ctx context.Context, c *Client) (any, error)
	want      string // as JSON
}{
	{"ping", golden("34 0d0a 085b1200 0d0a"), golden("34 0d0a 085b1200 0d0a"),
		func(ctx context.Context, c *Client) (any, error) { return nil, c.Ping(ctx) }, `null`},
	{"echo", golden("3131 0d0a 085d12070a0568656c6c6f 0d0a"), golden("36 0d0a 085d12020a00 0d0a"),
		func(ctx context.Context, c *Client) (any, error) { return c.Echo(ctx, "hello") }, `""`},
	{"list of none", golden("34 0d0a 085c1200 0d0a"), golden("34 0d0a 085c1200 0d0a"),
		func(ctx context.Context, c *Client) (any, error) { return c.List(ctx) }, `null`},
	{"list", golden("34 0d0a 085c1200 0d0a"), golden("3132 0d0a 085c12080a0268310a026832 0d0a"),
		func(ctx context.Context, c *Client) (any, error) { return c.List(ctx) }, `["h1","h2"]`},
	{"create", golden("3335 0d0a 080b121f0a0a0a022f7312022f64180010001a0168220831302e302e302e312a022f72 0d0a"),
		golden("37 0d0a 080b12030a0168 0d0a"),
		func(ctx context.Context, c *Client) (any, error) {
			return c.Create(ctx, &protocol.CreateRequest{
				BindMounts: []*protocol.CreateRequest_BindMount{{SrcPath: proto.String("/s"), DstPath: proto.String("/d"),
					Mode: protocol.CreateRequest_BindMount_RO.Enum()}},
				GraceTime: proto.Uint32(0), Handle: h, Network: proto.String("10.0.0.1"), Rootfs: proto.String("/r"),
			})
		}, `"h"`},
	{"stop", golden("3132 0d0a 080c12080a01685001a00101 0d0a"), frame(12),
		func(ctx context.Context, c *Client) (any, error) {
			return nil, c.Stop(ctx, &protocol.StopRequest{Handle: h, Background: proto.Bool(true), Kill: proto.Bool(true)})
		}, `null`},
	{"destroy", frame(13, str(1, "h")), frame(13),
		func(ctx context.Context, c *Client) (any, error) { return nil, c.Destroy(ctx, "h") }, `null`},
	{"info", frame(14, str(1, "h")),
		golden("3430 0d0a 080e12245206616374697665a2010d6f7574206f66206d656d6f7279c202021001e00201e002ac02 0d0a"),
		func(ctx context.Context, c *Client) (any, error) { return c.Info(ctx, "h") },
		`{"state":"active","events":["out of memory"],"memory_stat":{"rss":1},"job_ids":[1,300]}`},
	{"spawn", frame(21, str(1, "h"), str(2, "s"), num(3, 1)), frame(21, num(1, 7)),
		func(ctx context.Context, c *Client) (any, error) {
			return c.Spawn(ctx, &protocol.SpawnRequest{Handle: h, Script: proto.String("s"), Privileged: proto.Bool(true)})
		}, `7`},
	{"link", frame(22, str(1, "h"), num(2, 7)), frame(22, num(1, 255), str(2, "out"), str(3, "err")),
		func(ctx context.Context, c *Client) (any, error) { return c.Link(ctx, "h", 7) },
		`{"exit_status":255,"stdout":"out","stderr":"err"}`},
	{"run", golden("3232 0d0a 081712120a01681201731800220350d2092801320174 0d0a"),
		golden("3130 0d0a 08171206080012001a00 0d0a"),
		func(ctx context.Context, c *Client) (any, error) {
			return c.Run(ctx, &protocol.RunRequest{Handle: h, Script: proto.String("s"), Privileged: proto.Bool(false),
				Rlimits: &protocol.ResourceLimits{Nofile: proto.Uint64(1234)}, DiscardOutput: proto.Bool(true), LogTag: proto.String("t")})
		}, `{"exit_status":0,"stdout":"","stderr":""}`},
	{"net_in", golden("3132 0d0a 081f12080a016810903f1850 0d0a"), frame(31, num(1, 80), num(2, 8080)),
		func(ctx context.Context, c *Client) (any, error) {
			return c.NetIn(ctx, &protocol.NetInRequest{Handle: h, HostPort: proto.Uint32(80), ContainerPort: proto.Uint32(8080)})
		}, `{"host_port":80,"container_port":8080}`},
	{"net_out", golden("3331 0d0a 0820121b0a0168280230ffffffffffffffffff0138ffffffffffffffffff01 0d0a"), frame(32),
		func(ctx context.Context, c *Client) (any, error) {
			return nil, c.NetOut(ctx, &protocol.NetOutRequest{Handle: h, Protocol: protocol.NetOutRequest_ICMP.Enum(),
				IcmpType: proto.Int32(-1), IcmpCode: proto.Int32(-1)})
		}, `null`},
	{"copy_in", frame(41, str(1, "h"), str(2, "/a/"), str(3, "/b")), frame(41),
		func(ctx context.Context, c *Client) (any, error) {
			return nil, c.CopyIn(ctx, &protocol.CopyInRequest{Handle: h, SrcPath: proto.String("/a/"), DstPath: proto.String("/b")})
		}, `null`},
	{"copy_out", frame(42, str(1, "h"), str(2, "/a"), str(3, "/b"), str(4, "u:g")), frame(42),
		func(ctx context.Context, c *Client) (any, error) {
			return nil, c.CopyOut(ctx, &protocol.CopyOutRequest{Handle: h, SrcPath: proto.String("/a"), DstPath: proto.String("/b"),
				Owner: proto.String("u:g")})
		}, `null`},
	{"limit_memory", frame(51, str(1, "h")), frame(51, num(1, 9223372036854771712)),
		func(ctx context.Context, c *Client) (any, error) {
			return c.LimitMemory(ctx, &protocol.LimitMemoryRequest{Handle: h})
		}, `9223372036854771712`},
	{"limit_disk", frame(52, str(1, "h"), num(11, 10), num(21, 5)), frame(52, num(10, 10), num(31, 10240)),
		func(ctx context.Context, c *Client) (any, error) {
			return c.LimitDisk(ctx, &protocol.LimitDiskRequest{Handle: h, Block: proto.Uint64(10), Inode: proto.Uint64(5)})
		}, `{"block_limit":10,"byte":10240}`},
	{"limit_bandwidth", frame(53, str(1, "h"), num(2, 1), num(3, 2)), frame(53, num(1, 1), num(2, 2)),
		func(ctx context.Context, c *Client) (any, error) {
			return c.LimitBandwidth(ctx, &protocol.LimitBandwidthRequest{Handle: h, Rate: proto.Uint64(1), Burst: proto.Uint64(2)})
		}, `{"rate":1,"burst":2}`},
	{"limit_cpu", frame(54, str(1, "h"), num(2, 1)), frame(54, num(1, 2)),
		func(ctx context.Context, c *Client) (any, error) {
			return c.LimitCPU(ctx, &protocol.LimitCpuRequest{Handle: h, LimitInShares: proto.Uint64(1)})
		}, `2`},
}

func TestEveryCallSpeaksTheWire(t *testing.T) {
	for _, test := range calls {
		t.Run(test.name, func(t *testing.T) {
			got, err := test.call(t.Context(), converse(t, turn{test.hear, test.say}))
			if err != nil {
				t.Fatal(err)
			}
			if text, _ := json.Marshal(got); string(text) != test.want {
				t.Errorf("got %s\nwant %s", text, test.want)
			}
		})
	}
}

func TestEveryCallReturnsTheServersError(t *testing.T) {
	for _, test := range calls {
		t.Run(test.name, func(t *testing.T) {
			got, err := test.call(t.Context(), converse(t, turn{test.hear, golden(
				"3230 0d0a 08011210120e756e6b6e6f776e2068616e646c65 0d0a")}))
			failed, ok := err.(*ServerError)
			if !ok || failed.Text != "unknown handle" {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

// TestEveryRequestHasACall keeps the table complete.
func TestEveryRequestHasACall(t *testing.T) {
	tested := map[string]bool{"stream": true} // in stream_test.go
	for _, test := range calls {
		name, _, _ := strings.Cut(test.name, " ")
		tested[strings.ReplaceAll(name, "_", "")] = true
	}
	for name := range kinds() {
		if short := strings.ToLower(strings.TrimSuffix(string(name.Name()), "Request")); !tested[short] {
			t.Errorf("%s is not tested", name)
		}
	}
}

func TestAnIncompleteRequestIsNotSent(t *testing.T) {
	c := converse(t)
	if err := c.Stop(t.Context(), &protocol.StopRequest{}); err == nil || !strings.Contains(err.Error(), "handle") {
		t.Errorf("got %v", err)
	}
	if _, err := c.Call(t.Context(), &protocol.StopResponse{}); err == nil {
		t.Error("a response was sent as a request")
	}
	if _, err := c.Call(t.Context(), &protocol.StreamRequest{Handle: h, JobId: proto.Uint32(1)}); err == nil {
		t.Error("a stream was taken for a call")
	}
}

func TestTextIsAnyBytes(t *testing.T) {
	c := dial(t, serveEcho)
	const text = "\x00\xff\xfe\r\n\xc3"
	if got, err := c.Echo(t.Context(), text); err != nil || got != text {
		t.Errorf("got %q, %v", got, err)
	}
}
