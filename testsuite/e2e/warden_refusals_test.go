package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

const (
	notActive = "Container state must be one of 'active', current state is 'stopped'"
	failed    = "command exited with failure"
)

// refused wants the server's own words for a request.
func (w *wardens) refused(what string, request proto.Message, words string) {
	w.t.Helper()
	var err error
	if stream, ok := request.(*protocol.StreamRequest); ok {
		_, _, err = w.c.Stream(w.ctx(), stream.GetHandle(), stream.GetJobId(), func(string, []byte) error { return nil })
	} else {
		_, err = w.c.Call(w.ctx(), request)
	}
	expectSaid(w.t, what, err, words)
}

// takes wants a request to be done.
func (w *wardens) takes(what string, request proto.Message) proto.Message {
	w.t.Helper()
	answer, err := w.c.Call(w.ctx(), request)
	if err != nil {
		w.t.Errorf("%s: %v", what, err)
	}
	return answer
}

// requests are one of each that names a container.
func requests(handle, folder string) map[string]proto.Message {
	h, one, path := &handle, proto.Uint32(4711), proto.String(folder)
	script := proto.String("true")
	return map[string]proto.Message{
		"stop": &protocol.StopRequest{Handle: h}, "destroy": &protocol.DestroyRequest{Handle: h},
		"info": &protocol.InfoRequest{Handle: h}, "spawn": &protocol.SpawnRequest{Handle: h, Script: script},
		"run": &protocol.RunRequest{Handle: h, Script: script}, "link": &protocol.LinkRequest{Handle: h, JobId: one},
		"stream": &protocol.StreamRequest{Handle: h, JobId: one}, "net_in": &protocol.NetInRequest{Handle: h},
		"net_out":  &protocol.NetOutRequest{Handle: h, Network: proto.String("10.9.8.7")},
		"copy_in":  &protocol.CopyInRequest{Handle: h, SrcPath: path, DstPath: proto.String("/tmp/there")},
		"copy_out": &protocol.CopyOutRequest{Handle: h, SrcPath: proto.String("/etc/passwd"), DstPath: path},
		"memory":   &protocol.LimitMemoryRequest{Handle: h}, "cpu": &protocol.LimitCpuRequest{Handle: h},
		"disk":      &protocol.LimitDiskRequest{Handle: h},
		"bandwidth": &protocol.LimitBandwidthRequest{Handle: h, Rate: proto.Uint64(1 << 20), Burst: proto.Uint64(1 << 20)},
	}
}

// Which request is served in which state, and in which words it is refused.
func TestEveryRequestMindsTheState(t *testing.T) {
	w := newWardens(t, "")
	for what, request := range requests("nobody's", t.TempDir()) {
		w.refused(what, request, "unknown handle")
	}
	handle := w.create()
	ended := w.spawn(handle, "echo kept; exit 5")
	w.run(handle, "touch /tmp/file")
	w.takes("stop", &protocol.StopRequest{Handle: &handle})
	if state := w.info(handle).GetState(); state != "stopped" {
		t.Errorf("the state is %q", state)
	}
	if listed, err := w.c.List(w.ctx()); err != nil || !slices.Equal(listed, []string{handle}) {
		t.Errorf("listed %q, %v", listed, err)
	}
	begun := time.Now()
	for what, request := range requests(handle, t.TempDir()) {
		switch what {
		case "destroy":
		case "spawn", "run", "net_in", "net_out", "copy_in":
			w.refused(what, request, notActive)
		case "link", "stream":
			w.refused(what, request, "no such job")
		default:
			w.takes(what+" of a stopped one", request)
		}
	}
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("a stopped container answered in %s", took)
	}
	half := uint64(64 << 20)
	w.takes("a limit on a stopped one", &protocol.LimitMemoryRequest{Handle: &handle, LimitInBytes: &half})
	if r := w.link(w.c, handle, ended); r.GetExitStatus() != 5 || r.GetStdout() != "kept\n" || r.GetInfo().GetState() != "stopped" {
		t.Errorf("linked %v of a stopped container", r)
	}
	w.destroy(handle)
	for what, request := range requests(handle, t.TempDir()) {
		w.refused(what+" of a destroyed one", request, "unknown handle")
	}
}

// What can't be made is said in Warden's words and leaves nothing.
func TestWhatCantBeMadeIsRefused(t *testing.T) {
	w := newWardens(t, "")
	handle, file := w.create(), filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	own := w.info(handle).GetContainerIp()
	base := own[:strings.LastIndex(own, ".")+1] + fmt.Sprint(lastByte(own)-2)
	bind := func(source, target string) *protocol.CreateRequest {
		return &protocol.CreateRequest{BindMounts: []*protocol.CreateRequest_BindMount{{
			SrcPath: &source, DstPath: &target, Mode: protocol.CreateRequest_BindMount_RO.Enum(),
		}}}
	}
	for what, c := range map[string]struct {
		request *protocol.CreateRequest
		words   string
	}{
		"a handle in use":      {&protocol.CreateRequest{Handle: &handle}, "container with handle: " + handle + " already exists."},
		"a network in use":     {&protocol.CreateRequest{Network: &own}, "Could not acquire network: " + base},
		"a network of others":  {&protocol.CreateRequest{Network: proto.String("172.31.0.9")}, "Could not acquire network: 172.31.0.8"},
		"no rootfs":            {&protocol.CreateRequest{Rootfs: proto.String("/no/where")}, "rootfs /no/where not found"},
		"a file as the rootfs": {&protocol.CreateRequest{Rootfs: &file}, "rootfs " + file + " not found"},
		"no source":            {bind("/no/where", "/mnt"), "Source path for bind mount does not exist: /no/where"},
		"a target without a /": {bind(filepath.Dir(file), "mnt"), "Destination path for bind mount must be absolute: mnt"},
	} {
		w.refused(what, c.request, c.words)
	}
	if listed, err := w.c.List(w.ctx()); err != nil || !slices.Equal(listed, []string{handle}) {
		t.Errorf("listed %q, %v", listed, err)
	}
	w.destroy(handle)
}

func lastByte(address string) (n int) {
	fmt.Sscan(address[strings.LastIndex(address, ".")+1:], &n)
	return n
}

// What can't be done to a container is said in Warden's words and changes nothing.
func TestWhatCantBeDoneIsRefused(t *testing.T) {
	w := newWardens(t, "")
	handle := w.create()
	h, folder := &handle, t.TempDir()
	out := func(change func(*protocol.NetOutRequest)) *protocol.NetOutRequest {
		r := &protocol.NetOutRequest{Handle: h}
		change(r)
		return r
	}
	const order = "Port range maximum must be greater than minimum"
	const nothing = "Please specify network, port, and/or port_range."
	for what, c := range map[string]struct {
		request proto.Message
		words   string
	}{
		"net_out of nothing": {out(func(*protocol.NetOutRequest) {}), nothing},
		"net_out of an ICMP type": {out(func(r *protocol.NetOutRequest) {
			r.Protocol, r.IcmpType = protocol.NetOutRequest_ICMP.Enum(), proto.Int32(8)
		}), nothing},
		"a range of one port": {out(func(r *protocol.NetOutRequest) { r.PortRange = proto.String("80:80") }), order},
		"a range backwards":   {out(func(r *protocol.NetOutRequest) { r.PortRange = proto.String("90:80") }), order},
		"a range of no ports": {out(func(r *protocol.NetOutRequest) { r.PortRange = proto.String("x:y") }), order},
		"a range without a :": {out(func(r *protocol.NetOutRequest) { r.PortRange = proto.String("nothing") }), failed},
		"an unusable network": {out(func(r *protocol.NetOutRequest) { r.Network = proto.String("nowhere at all") }), failed},
		"a shell's words":     {out(func(r *protocol.NetOutRequest) { r.Network = proto.String("10.0.0.1; reboot") }), failed},
		"a port above all":    {out(func(r *protocol.NetOutRequest) { r.Port = proto.Uint32(65536) }), failed},
		"all with a port": {out(func(r *protocol.NetOutRequest) {
			r.Protocol, r.Port = protocol.NetOutRequest_ALL.Enum(), proto.Uint32(80)
		}), failed},
		"a host port too high": {&protocol.NetInRequest{Handle: h, HostPort: proto.Uint32(65536)}, failed},
		"a port too high":      {&protocol.NetInRequest{Handle: h, ContainerPort: proto.Uint32(65536)}, failed},
		"no bandwidth":         {&protocol.LimitBandwidthRequest{Handle: h, Rate: proto.Uint64(0), Burst: proto.Uint64(0)}, failed},
		"copy_in of nothing": {&protocol.CopyInRequest{Handle: h, SrcPath: proto.String(folder + "/none"),
			DstPath: proto.String("/tmp")}, failed},
		"copy_in deep into nothing": {&protocol.CopyInRequest{Handle: h, SrcPath: &folder,
			DstPath: proto.String("/tmp/a/b/c")}, failed},
		"copy_in where vcap may not": {&protocol.CopyInRequest{Handle: h, SrcPath: &folder, DstPath: proto.String("/etc/x")}, failed},
		"copy_out of nothing": {&protocol.CopyOutRequest{Handle: h, SrcPath: proto.String("/none"),
			DstPath: &folder}, failed},
		"copy_out for nobody": {&protocol.CopyOutRequest{Handle: h, SrcPath: proto.String("/etc/passwd"),
			DstPath: &folder, Owner: proto.String("no-such-user:no-such-group")}, failed},
	} {
		w.refused(what, c.request, c.words)
	}
	used := w.spawn(handle, "head -c 50000000 /dev/zero > /dev/shm/held; echo held; sleep 60")
	begun := make(chan bool)
	streamer := w.dial()
	go streamer.Stream(w.ctx(), handle, used, func(string, []byte) error { close(begun); return nil })
	<-begun
	_, err := w.c.LimitMemory(w.ctx(), &protocol.LimitMemoryRequest{Handle: h, LimitInBytes: proto.Uint64(8 << 20)})
	if err == nil || !strings.HasPrefix(err.Error(), "Failed setting memory limit: Device or resource busy") {
		t.Errorf("less memory than is in use: %v", err)
	}
	if info := w.info(handle); info.GetState() != "active" || info.GetBandwidthStat().GetInRate() != 0xffffffff {
		t.Errorf("what was refused left %v", info)
	}
	w.destroy(handle)
}

// Handles are any bytes, and nothing but names.
func TestHandlesAreAnyBytes(t *testing.T) {
	w := newWardens(t, "")
	odd := []string{"", "my/odd handle", "\u0082", "\xff\x00\xfe", "..", strings.Repeat("long", 1000)}
	for _, handle := range odd {
		got, err := w.c.Create(w.ctx(), &protocol.CreateRequest{Handle: &handle})
		if err != nil || got != handle {
			t.Fatalf("%q was made as %q: %v", handle, got, err)
		}
	}
	own := w.create()
	if !regexp.MustCompile(`^[0-9a-z]{11}$`).MatchString(own) {
		t.Errorf("the node's own handle is %q", own)
	}
	if listed, err := w.c.List(w.ctx()); err != nil || !slices.Equal(listed, append(slices.Clone(odd), own)) {
		t.Errorf("listed %q, %v", listed, err)
	}
	id := regexp.MustCompile(`^[0-9a-z]{11}\n$`)
	for _, handle := range odd {
		if _, name, _ := w.run(handle, "hostname"); !id.MatchString(name) ||
			!strings.Contains(w.info(handle).GetContainerPath(), strings.TrimSpace(name)) {
			t.Errorf("%q is called %q, at %q", handle, name, w.info(handle).GetContainerPath())
		}
	}
	w.node.Kill()
	w.node.Start()
	w.c = w.dial()
	if listed, err := w.c.List(w.ctx()); err != nil || !slices.Equal(listed, append(slices.Clone(odd), own)) {
		t.Errorf("a successor listed %q, %v", listed, err)
	}
	w.destroy(append(odd, own)...)
}

// One connection's requests are answered in order; one that breaks the rules
// ends its own connection, after what was asked before, and nobody else's.
func TestOneConnectionsAnswersComeInOrder(t *testing.T) {
	w := newWardens(t, "")
	handle := w.create()
	frame := func(kind byte, payload []byte) string {
		body := append([]byte{8, kind, 18, byte(len(payload))}, payload...)
		return fmt.Sprintf("%d\r\n%s\r\n", len(body), body)
	}
	marshal := func(m proto.Message) []byte {
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	run := frame(23, marshal(&protocol.RunRequest{Handle: &handle, Script: proto.String("sleep 0.3")}))
	list, ping := frame(92, nil), frame(91, nil)
	for what, bad := range map[string]string{
		"a type that is none":    frame(99, nil),
		"an error's type":        frame(1, nil),
		"a field that is needed": frame(14, nil),
		"no number":              "abc\r\n",
		"a length without CR":    "4\n",
		"garbage":                "4\r\n\xff\xff\xff\xff\r\n",
		"too much":               "99999999999\r\n",
	} {
		conn, err := net.Dial("unix", w.socket)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(wardenMax))
		begun := time.Now()
		io.WriteString(conn, run+list+ping+bad+ping)
		var kinds []byte
		for from := bufio.NewReader(conn); ; {
			var n int
			if _, err := fmt.Fscanf(from, "%d\r\n", &n); err != nil {
				break
			}
			body := make([]byte, n+2)
			if _, err := io.ReadFull(from, body); err != nil {
				t.Fatal(err)
			}
			kinds = append(kinds, body[1])
		}
		if !slices.Equal(kinds, []byte{23, 92, 91}) || time.Since(begun) < 300*time.Millisecond {
			t.Errorf("%s: answers of types %v after %s", what, kinds, time.Since(begun))
		}
	}
	if err := w.c.Ping(w.ctx()); err != nil {
		t.Error(err)
	}
	w.destroy(handle)
}
