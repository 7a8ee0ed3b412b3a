package bus

import (
	"testing"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/dea"
	"github.com/deacon-agent/deacon/testsuite/logbook"
)

// BenchmarkPublish is from Publish to another program's hearing it.
func BenchmarkPublish(b *testing.B) {
	s := startServer(b, nil)
	bus := openBus(b, logbook.New(), Config{Servers: []string{s.url}})
	heard := subscribed(b, observer(b, s.url), "dea.heartbeat")
	for b.Loop() {
		bus.Publish(messaging.Beat{NodeID: nodeID})
		<-heard
	}
}

// BenchmarkPublishLines hands over 256 lines of 100 bytes at a time.
func BenchmarkPublishLines(b *testing.B) {
	s := startServer(b, nil)
	bus := openBus(b, logbook.New(), Config{Servers: []string{s.url}})
	line := messaging.LogLine{Application: "a", Instance: "i", Stream: "stdout", Text: make([]byte, 100)}
	for i := range line.Text {
		line.Text[i] = 'x'
	}
	lines := make([]messaging.LogLine, 256)
	for i := range lines {
		lines[i] = line
	}
	for b.Loop() {
		if err := bus.PublishLines(b.Context(), lines); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(lines)*b.N)/b.Elapsed().Seconds(), "lines/s")
}

// BenchmarkListen is from another program's publishing a stop to its being
// handed over.
func BenchmarkListen(b *testing.B) {
	s := startServer(b, nil)
	bus := openBus(b, logbook.New(), Config{Servers: []string{s.url}})
	commands := make(chan messaging.Command, 1)
	if err := bus.Listen(func(cmd messaging.Command) { commands <- cmd }); err != nil {
		b.Fatal(err)
	}
	bus.conn.Flush()
	controller := observer(b, s.url)
	for b.Loop() {
		controller.Publish(dea.SubjectStop, []byte(`{"droplet":"a"}`))
		<-commands
	}
}
