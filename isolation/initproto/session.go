package initproto

// Signal sends a signal to the process group of a session's first process.
// Nothing answers it, nor a HangUp: that the job ends is told as of any.
type Signal struct {
	Job    uint32
	Signal uint32
}

// HangUp ends a session: SIGHUP to every process of it, SIGKILL to who is left a
// moment later.
type HangUp struct{ Job uint32 }

const (
	signalJob    = 1
	signalNumber = 2
	hangUpJob    = 1
)

// SignalMax is the greatest signal there is.
const SignalMax = 64

// Encode makes one message.
func (m Signal) Encode() []byte {
	w := newWriter(KindSignal)
	w.uint(signalJob, uint64(m.Job))
	w.uint(signalNumber, uint64(m.Signal))
	return w.b
}

// DecodeSignal reads one message.
func DecodeSignal(message []byte) (m Signal, err error) {
	err = each(message, KindSignal, func(f field) {
		switch f.number {
		case signalJob:
			m.Job = uint32(f.uint())
		case signalNumber:
			m.Signal = uint32(min(f.uint(), SignalMax+1))
		}
	})
	if err == nil && (m.Job == 0 || m.Signal == 0 || m.Signal > SignalMax) {
		err = ErrMalformed
	}
	return m, err
}

// Encode makes one message.
func (m HangUp) Encode() []byte {
	w := newWriter(KindHangUp)
	w.uint(hangUpJob, uint64(m.Job))
	return w.b
}

// DecodeHangUp reads one message.
func DecodeHangUp(message []byte) (m HangUp, err error) {
	err = each(message, KindHangUp, func(f field) {
		if f.number == hangUpJob {
			m.Job = uint32(f.uint())
		}
	})
	if err == nil && m.Job == 0 {
		err = ErrMalformed
	}
	return m, err
}
