package initproto

import (
	"encoding/binary"
	"hash/crc32"
	"time"
)

// Exit is how a job ended, as PID 1 saw it.
type Exit struct {
	Job      uint32
	Code     int32 // -1 where a signal ended it
	Signal   uint32
	OOMKills uint64
	Ordered  bool // it ended while every job was being stopped
	At       time.Time
}

// The record on disk: magic, version, flags, job, code, signal, oom kills, time in
// nanoseconds, and the checksum of all before it. It is written with one
// pwrite, so a torn one can't pass for a whole one.
const (
	exitMagic  = "dexit\x01" // and flags, and a zero
	exitFields = 8 + 4 + 4 + 4 + 8 + 8
	// ExitSize is the record's size in bytes.
	ExitSize = exitFields + 4

	exitOrdered = 1 // a flag
)

// EncodeExit makes a record.
func EncodeExit(e Exit) []byte {
	var flags byte
	if e.Ordered {
		flags = exitOrdered
	}
	b := append(make([]byte, 0, ExitSize), exitMagic...)
	b = append(b, flags, 0)
	b = binary.LittleEndian.AppendUint32(b, e.Job)
	b = binary.LittleEndian.AppendUint32(b, uint32(e.Code))
	b = binary.LittleEndian.AppendUint32(b, e.Signal)
	b = binary.LittleEndian.AppendUint64(b, e.OOMKills)
	b = binary.LittleEndian.AppendUint64(b, uint64(e.At.UnixNano()))
	return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

// DecodeExit reads a record. An empty one, from a job that has not ended, is
// as malformed as a torn one.
func DecodeExit(b []byte) (Exit, error) {
	// Flags that are not known are those of a newer PID 1.
	if len(b) != ExitSize || string(b[:6]) != exitMagic ||
		crc32.ChecksumIEEE(b[:exitFields]) != binary.LittleEndian.Uint32(b[exitFields:]) {
		return Exit{}, ErrMalformed
	}
	return Exit{
		Job:      binary.LittleEndian.Uint32(b[8:]),
		Code:     int32(binary.LittleEndian.Uint32(b[12:])),
		Signal:   binary.LittleEndian.Uint32(b[16:]),
		OOMKills: binary.LittleEndian.Uint64(b[20:]),
		Ordered:  b[6]&exitOrdered != 0,
		At:       time.Unix(0, int64(binary.LittleEndian.Uint64(b[28:]))),
	}, nil
}

// Exited tells every connected agent of a job's end.
func Exited(e Exit) []byte {
	w := newWriter(KindExited)
	w.bytes(1, EncodeExit(e))
	return w.b
}

// DecodeExited reads one message.
func DecodeExited(message []byte) (Exit, error) {
	var e Exit
	inner := ErrMalformed
	err := each(message, KindExited, func(f field) {
		if f.number == 1 {
			e, inner = DecodeExit(f.value)
		}
	})
	if err != nil {
		return Exit{}, err
	}
	return e, inner
}

// What a greeting tells of, at most: it has to fit into a message whatever a
// container has run. Of the jobs that have ended it tells of the last.
const (
	RunningMax = 4096
	EndedMax   = 256
)

// Hello is the first message on every connection: who this is and what it runs.
type Hello struct {
	Version uint32
	Needs   uint32 // the oldest version that the agent must speak
	ID      string
	Epoch   uint32
	Jobs    []JobState
}

// JobState is one job that PID 1 started and has not ended, or ended lately.
type JobState struct {
	Number uint32
	PID    uint32 // 0: ended
	Exit   *Exit
}

const (
	helloVersion = 1
	helloID      = 2
	helloEpoch   = 3
	helloJob     = 4
	helloNeeds   = 5
	helloNumber  = 1
	helloPID     = 2
	helloExit    = 3
)

// Encode makes one message.
func (h Hello) Encode() []byte {
	w := newWriter(KindHello)
	w.uint(helloVersion, uint64(h.Version))
	w.string(helloID, h.ID)
	w.uint(helloEpoch, uint64(h.Epoch))
	w.uint(helloNeeds, uint64(h.Needs))
	for _, job := range h.Jobs {
		inner := &writer{}
		inner.uint(helloNumber, uint64(job.Number))
		inner.uint(helloPID, uint64(job.PID))
		if job.Exit != nil {
			inner.bytes(helloExit, EncodeExit(*job.Exit))
		}
		w.bytes(helloJob, inner.b)
	}
	return w.b
}

// DecodeHello reads one message.
func DecodeHello(message []byte) (Hello, error) {
	var h Hello
	var malformed error
	err := each(message, KindHello, func(f field) {
		switch f.number {
		case helloVersion:
			h.Version = uint32(f.uint())
		case helloID:
			h.ID = string(f.value)
		case helloEpoch:
			h.Epoch = uint32(f.uint())
		case helloNeeds:
			h.Needs = uint32(f.uint())
		case helloJob:
			var job JobState
			if job, malformed = decodeJobState(f.value); malformed == nil {
				h.Jobs = append(h.Jobs, job)
			}
		}
	})
	if err != nil {
		return Hello{}, err
	}
	return h, malformed
}

func decodeJobState(fields []byte) (JobState, error) {
	var job JobState
	var inner error
	err := eachField(fields, func(f field) {
		switch f.number {
		case helloNumber:
			job.Number = uint32(f.uint())
		case helloPID:
			job.PID = uint32(f.uint())
		case helloExit:
			var e Exit
			if e, inner = DecodeExit(f.value); inner == nil {
				job.Exit = &e
			}
		}
	})
	if err != nil {
		return JobState{}, err
	}
	return job, inner
}
