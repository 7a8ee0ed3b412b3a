package dea

import (
	"fmt"
	"testing"

	"github.com/deacon-agent/deacon/messaging"
)

// BenchmarkDecodeStart reads the start message of the golden file, which has
// about what a controller sends for a middling application.
func BenchmarkDecodeStart(b *testing.B) {
	body := golden(b, "start.json")
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode("dea.node.start", body); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEncodeBeat writes the heartbeat of a node with 200 instances.
func BenchmarkEncodeBeat(b *testing.B) {
	beat := messaging.Beat{NodeID: nodeID}
	for i := range 200 {
		row := exampleBeat.Instances[0]
		row.Instance = fmt.Sprintf("%032x", i)
		beat.Instances = append(beat.Instances, row)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Encode(beat); err != nil {
			b.Fatal(err)
		}
	}
}
