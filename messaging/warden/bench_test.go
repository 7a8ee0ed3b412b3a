package warden

import (
	"bytes"
	"net"
	"path/filepath"
	"testing"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

// again is one wire for ever.
type again struct {
	wire []byte
	at   int
}

func (a *again) Read(p []byte) (int, error) {
	n := copy(p, a.wire[a.at:])
	a.at = (a.at + n) % len(a.wire)
	return n, nil
}

// BenchmarkPing is a ping from bytes to bytes.
func BenchmarkPing(b *testing.B) {
	r := NewReader(&again{wire: AppendFrame(nil, TypePing, nil)})
	b.ReportAllocs()
	for b.Loop() {
		m, err := r.Next()
		if err != nil {
			b.Fatal(err)
		}
		if _, local, err := Local(m); !local || err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPingOverASocket is one ping after the other, there and back.
func BenchmarkPingOverASocket(b *testing.B) {
	client := connect(b, func(c net.Conn) {
		r := NewReader(c)
		for {
			m, err := r.Next()
			if err != nil {
				return
			}
			frame, _, _ := Local(m)
			if _, err := c.Write(frame); err != nil {
				return
			}
		}
	})
	ping, r := AppendFrame(nil, TypePing, nil), NewReader(client)
	for b.Loop() {
		if _, err := client.Write(ping); err != nil {
			b.Fatal(err)
		}
		if _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkChunk makes frames of output as the node reads it.
func BenchmarkChunk(b *testing.B) {
	data := make([]byte, 64<<10)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		Chunk("stdout", data)
	}
}

// BenchmarkStreamOverASocket is a job's output on its way to a client that
// looks at every chunk.
func BenchmarkStreamOverASocket(b *testing.B) {
	data := make([]byte, 64<<10)
	client := connect(b, func(c net.Conn) {
		var head []byte
		for {
			head = AppendChunkHead(head[:0], "stdout", len(data))
			if _, err := (&net.Buffers{head, data, []byte(FrameEnd)}).WriteTo(c); err != nil {
				return
			}
		}
	})
	r := NewReader(client)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		m, err := r.Next()
		if err != nil {
			b.Fatal(err)
		}
		var chunk protocol.StreamResponse
		if err := Parse(m, &chunk); err != nil || len(chunk.GetData()) != len(data) {
			b.Fatal(err)
		}
	}
}

// connect is a client's end of a socket; serve has the other, and returns when
// it is closed.
func connect(b *testing.B, serve func(net.Conn)) net.Conn {
	b.Helper()
	listener, err := net.Listen("unix", filepath.Join(b.TempDir(), "warden.sock"))
	if err != nil {
		b.Fatal(err)
	}
	defer listener.Close()
	client, err := net.Dial("unix", listener.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	server, err := listener.Accept()
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		serve(server)
	}()
	b.Cleanup(func() {
		client.Close()
		server.Close()
		<-done
	})
	return client
}

// BenchmarkDecodeRun reads a request as a client sends it.
func BenchmarkDecodeRun(b *testing.B) {
	frame, err := Frame(TypeRun, &protocol.RunRequest{
		Handle: new("1j0shvimvsv"), Script: new("exec true"), Rlimits: &protocol.ResourceLimits{Nofile: new(uint64(1234))},
	})
	if err != nil {
		b.Fatal(err)
	}
	m, err := NewReader(bytes.NewReader(frame)).Next()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(m, messaging.Ask{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEncodeLink writes 10 MiB of output, which is all that a job may have.
func BenchmarkEncodeLink(b *testing.B) {
	answer := messaging.JobLinked{Stdout: make([]byte, 10<<20), Info: exampleInfo}
	b.SetBytes(10 << 20)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Encode(TypeLink, answer); err != nil {
			b.Fatal(err)
		}
	}
}
