package main

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/deacon-agent/deacon/messaging/warden"
	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

// wardenPeer is a server of Warden's protocol that runs nothing: what a script
// does is in its table. It takes every request down.
type wardenPeer struct {
	t    *testing.T
	path string

	mu       sync.Mutex
	listener net.Listener
	open     map[net.Conn]bool
	heard    []proto.Message
	handles  []string
	stopped  map[string]bool
	jobs     map[uint32]peerScript
	last     uint32
	made     int
	memory   uint64 // the last limit
	alone    bool   // all who were connected had gone
}

// peerScript is what a script does.
type peerScript struct {
	out, err string
	status   uint32
	hangs    bool // after the output
	cut      int  // how many times the connection is cut after the first byte
}

var peerScripts = map[string]peerScript{
	"true":                                {},
	"cat /tmp/copied":                     {out: "copied text\n"},
	"echo hello; echo oops >&2; exit 7":   {out: "hello\n", err: "oops\n", status: 7},
	"echo $((6*7)); exit 3":               {out: "42\n", status: 3},
	"echo started; sleep 60":              {out: "started\n", hangs: true},
	"echo a long story":                   {out: "a long story\n", cut: 2},
	`printf '\377'`:                       {out: "\xff"},
	"echo one; echo two >&2":              {out: "one\n", err: "two\n"},
	"kill -9 $$":                          {status: 255},
	"printf 'no newline at the end' >&2 ": {err: "no newline at the end"},
}

func startWarden(t *testing.T) *wardenPeer {
	t.Helper()
	p := &wardenPeer{
		t: t, path: filepath.Join(t.TempDir(), "warden.sock"), open: map[net.Conn]bool{},
		stopped: map[string]bool{}, jobs: map[uint32]peerScript{}, memory: 9223372036854771712,
	}
	p.listen()
	t.Cleanup(p.down)
	return p
}

func (p *wardenPeer) listen() {
	listener, err := net.Listen("unix", p.path)
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	p.listener = listener
	p.mu.Unlock()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.open[conn] = true
			p.mu.Unlock()
			go p.serve(conn)
		}
	}()
}

// hangUp closes every connection; down the door as well.
func (p *wardenPeer) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.open {
		conn.Close()
		delete(p.open, conn)
	}
}

func (p *wardenPeer) down() {
	p.listener.Close()
	p.hangUp()
}

// everAlone says whether a moment ago, or before, nobody was connected.
func (p *wardenPeer) everAlone() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.alone
}

// requests are what was heard.
func (p *wardenPeer) requests() []proto.Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.heard)
}

func (p *wardenPeer) serve(conn net.Conn) {
	defer func() {
		p.mu.Lock()
		delete(p.open, conn)
		p.alone = p.alone || len(p.open) == 0
		p.mu.Unlock()
		conn.Close()
	}()
	frames := warden.NewReader(conn)
	for {
		m, err := frames.Next()
		if err != nil {
			return
		}
		request := p.parse(m)
		p.mu.Lock()
		p.heard = append(p.heard, request)
		p.mu.Unlock()
		say := func(kind warden.Type, answer proto.Message) {
			frame, err := warden.Frame(kind, answer)
			if err != nil {
				p.t.Errorf("the peer can't answer: %v", err)
			}
			conn.Write(frame)
		}
		if stream, ok := request.(*protocol.StreamRequest); ok {
			if !p.stream(stream, say, conn) {
				return
			}
			continue
		}
		if answer, err := p.answer(request); err != nil {
			say(warden.TypeError, &protocol.ErrorResponse{Message: new(err.Error())})
		} else {
			say(m.Type, answer)
		}
	}
}

func (p *wardenPeer) parse(m warden.Message) proto.Message {
	for _, c := range wardenCommands() {
		request := c.request.New().Interface()
		if "warden.protocol."+m.Type.String()+"Request" != string(c.request.Descriptor().FullName()) {
			continue
		}
		if err := warden.Parse(m, request); err != nil {
			p.t.Errorf("the peer heard: %v", err)
		}
		return request
	}
	p.t.Errorf("the peer heard a message of type %v", m.Type)
	return nil
}

// answer is the answer to whatever has one.
func (p *wardenPeer) answer(request proto.Message) (proto.Message, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if handle, ok := handleOf(request); ok && !slices.Contains(p.handles, handle) {
		if _, creates := request.(*protocol.CreateRequest); !creates {
			return nil, fmt.Errorf("unknown handle")
		}
	}
	switch r := request.(type) {
	case *protocol.PingRequest:
		return &protocol.PingResponse{}, nil
	case *protocol.EchoRequest:
		return &protocol.EchoResponse{Message: r.Message}, nil
	case *protocol.ListRequest:
		return &protocol.ListResponse{Handles: p.handles}, nil
	case *protocol.CreateRequest:
		return p.create(r), nil
	case *protocol.StopRequest:
		p.stopped[r.GetHandle()] = true
		return &protocol.StopResponse{}, nil
	case *protocol.DestroyRequest:
		p.handles = slices.DeleteFunc(p.handles, func(h string) bool { return h == r.GetHandle() })
		return &protocol.DestroyResponse{}, nil
	case *protocol.InfoRequest:
		return p.info(r.GetHandle()), nil
	case *protocol.SpawnRequest:
		return p.spawn(r)
	case *protocol.LinkRequest:
		return p.link(r)
	case *protocol.NetInRequest:
		return &protocol.NetInResponse{HostPort: new(uint32(61001)), ContainerPort: new(uint32(8080))}, nil
	case *protocol.NetOutRequest:
		return &protocol.NetOutResponse{}, nil
	case *protocol.CopyInRequest:
		return &protocol.CopyInResponse{}, nil
	case *protocol.CopyOutRequest:
		return &protocol.CopyOutResponse{}, nil
	case *protocol.LimitDiskRequest:
		return &protocol.LimitDiskResponse{Block: new(r.GetByte() / 1024), Byte: r.Byte}, nil
	case *protocol.LimitBandwidthRequest:
		return &protocol.LimitBandwidthResponse{Rate: r.Rate, Burst: r.Burst}, nil
	case *protocol.LimitMemoryRequest:
		if r.LimitInBytes != nil {
			p.memory = r.GetLimitInBytes()
		}
		return &protocol.LimitMemoryResponse{LimitInBytes: new(p.memory)}, nil
	default:
		return nil, fmt.Errorf("command exited with failure")
	}
}

func handleOf(request proto.Message) (string, bool) {
	m := request.ProtoReflect()
	field := m.Descriptor().Fields().ByName("handle")
	if field == nil {
		return "", false
	}
	return m.Get(field).String(), true
}

func (p *wardenPeer) create(r *protocol.CreateRequest) proto.Message {
	p.made++
	handle := fmt.Sprintf("1j0shvimvs%d", p.made)
	if r.Handle != nil {
		handle = r.GetHandle()
	}
	p.handles = append(p.handles, handle)
	return &protocol.CreateResponse{Handle: &handle}
}

// info has every number, as a node's has.
func (p *wardenPeer) info(handle string) *protocol.InfoResponse {
	state := "active"
	if p.stopped[handle] {
		state = "stopped"
	}
	info := &protocol.InfoResponse{
		State: &state, HostIp: new("10.254.0.1"), ContainerIp: new("10.254.0.2"), ContainerPath: new("/var/lib/deacon/x"),
		MemoryStat: &protocol.InfoResponse_MemoryStat{}, CpuStat: &protocol.InfoResponse_CpuStat{},
		BandwidthStat: &protocol.InfoResponse_BandwidthStat{}, DiskStat: &protocol.InfoResponse_DiskStat{},
	}
	for i, stat := range []proto.Message{info.MemoryStat, info.CpuStat, info.BandwidthStat, info.DiskStat} {
		m := stat.ProtoReflect()
		for field := range inOrder(m.Descriptor()) {
			m.Set(field, protoreflect.ValueOfUint64(uint64(1000*i)+uint64(field.Number())))
		}
	}
	return info
}

func (p *wardenPeer) spawn(r *protocol.SpawnRequest) (proto.Message, error) {
	if p.stopped[r.GetHandle()] {
		return nil, fmt.Errorf("Container state must be one of 'active', current state is 'stopped'") //nolint:staticcheck // Warden's text
	}
	script, ok := peerScripts[r.GetScript()]
	if !ok {
		script = peerScript{err: "not found\n", status: 127}
	}
	p.last++
	p.jobs[p.last] = script
	return &protocol.SpawnResponse{JobId: new(p.last)}, nil
}

func (p *wardenPeer) link(r *protocol.LinkRequest) (proto.Message, error) {
	job, ok := p.jobs[r.GetJobId()]
	if !ok {
		return nil, fmt.Errorf("no such job")
	}
	delete(p.jobs, r.GetJobId())
	return &protocol.LinkResponse{ExitStatus: &job.status, Stdout: &job.out, Stderr: &job.err, Info: p.info(r.GetHandle())}, nil
}

// stream tells whether the connection goes on.
func (p *wardenPeer) stream(r *protocol.StreamRequest, say func(warden.Type, proto.Message), conn net.Conn) bool {
	p.mu.Lock()
	job, ok := p.jobs[r.GetJobId()]
	if cut := job; job.cut > 0 {
		cut.cut--
		p.jobs[r.GetJobId()] = cut
	}
	p.mu.Unlock()
	if !ok {
		say(warden.TypeError, &protocol.ErrorResponse{Message: new("no such job")})
		return true
	}
	if job.cut > 0 {
		say(warden.TypeStream, &protocol.StreamResponse{Name: new("stdout"), Data: new(job.out[:1])})
		return false
	}
	if job.out != "" {
		say(warden.TypeStream, &protocol.StreamResponse{Name: new("stdout"), Data: &job.out})
	}
	if job.err != "" {
		say(warden.TypeStream, &protocol.StreamResponse{Name: new("stderr"), Data: &job.err})
	}
	if job.hangs { // until the client leaves
		conn.Read(make([]byte, 1))
		return false
	}
	say(warden.TypeStream, &protocol.StreamResponse{ExitStatus: &job.status, Info: &protocol.InfoResponse{State: new("active")}})
	p.mu.Lock()
	delete(p.jobs, r.GetJobId())
	p.mu.Unlock()
	return true
}
