package socket

import (
	"io"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/warden"
)

// unhurried is a client without a deadline.
func unhurried(b *testing.B, n *node) *client {
	b.Helper()
	c := n.dial(b)
	c.conn.SetDeadline(time.Time{})
	return c
}

// BenchmarkPing waits for each pong; issue: 20,000 a second on one connection.
func BenchmarkPing(b *testing.B) {
	c := unhurried(b, open(b, Config{}))
	frame := ping()
	for b.Loop() {
		c.send(frame)
		c.pong()
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pings/s")
}

// BenchmarkPingPipelined sends on while pongs come.
func BenchmarkPingPipelined(b *testing.B) {
	c := unhurried(b, open(b, Config{}))
	sent := make(chan error, 1)
	b.ResetTimer()
	go func() {
		frame := ping()
		for range b.N {
			if _, err := c.conn.Write(frame); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for range b.N {
		c.pong()
	}
	if err := <-sent; err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pings/s")
}

// BenchmarkRequest goes through deliver and Answer, as all but ping and echo do.
func BenchmarkRequest(b *testing.B) {
	n := open(b, Config{})
	c := unhurried(b, n)
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		for cmd := range n.commands {
			asked, ok := cmd.(messaging.InspectContainer)
			if !ok {
				return
			}
			n.Answer(messaging.Answered{Ask: asked.Ask, Answer: messaging.Failed{Text: "unknown handle"}})
		}
	}()
	frame := infoOf(b, "h")
	for b.Loop() {
		c.send(frame)
		c.next()
	}
	b.StopTimer()
	c.conn.Close()
	<-answered
}

// BenchmarkChunk streams 64 KiB at a time to a client that reads as a real one
// does; issue: 300 MB/s.
func BenchmarkChunk(b *testing.B) {
	n := open(b, Config{})
	c := unhurried(b, n)
	c.send(streamOf(b, "h"))
	stream := hear[messaging.StreamJob](b, n).Ask
	data := make([]byte, 64<<10)
	frame := len(warden.Chunk("stdout", data))
	b.SetBytes(int64(len(data)))
	read := make(chan error, 1)
	b.ResetTimer()
	go func() {
		_, err := io.CopyN(struct{ io.Writer }{io.Discard}, c.conn, int64(frame)*int64(b.N))
		read <- err
	}()
	for range b.N {
		if err := n.Chunk(b.Context(), stream, "stdout", data); err != nil {
			b.Fatal(err)
		}
	}
	if err := <-read; err != nil {
		b.Fatal(err)
	}
}

// BenchmarkConnect is a client that connects, pings and leaves.
func BenchmarkConnect(b *testing.B) {
	n := open(b, Config{})
	for b.Loop() {
		c := dial(b, n.path)
		c.send(ping())
		c.pong()
		c.conn.Close()
		hear[messaging.ClientConnected](b, n)
		hear[messaging.ClientGone](b, n)
	}
}
