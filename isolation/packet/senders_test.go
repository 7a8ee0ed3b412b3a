package packet

import (
	"bytes"
	"os"
	"sync"
	"testing"
)

// Every message comes whole and with its own file, whoever else sends.
func TestSeveralMaySendAtTheSameTime(t *testing.T) {
	const senders, each = 8, 50
	near, far := pair(t)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	var sending sync.WaitGroup
	for i := range senders {
		sending.Go(func() {
			for range each {
				if err := near.Send(bytes.Repeat([]byte{byte('a' + i)}, 30_000+i), null); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range senders * each {
		message, files, err := far.Receive()
		if err != nil {
			t.Fatal(err)
		}
		i := int(message[0] - 'a')
		if len(message) != 30_000+i || bytes.Count(message, message[:1]) != len(message) || len(files) != 1 {
			t.Fatalf("%d bytes that begin with %q, and %d files", len(message), message[:1], len(files))
		}
		for _, file := range files {
			file.Close()
		}
	}
	sending.Wait()
}
