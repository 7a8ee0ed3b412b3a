package initproto

// Clone asks the launcher for one PID 1. Descriptors: its end of the gate, and
// where InGroup is set the cgroup (v2) that it is born in.
type Clone struct {
	Sequence uint64
	Name     string // argv[1]: the container's id, for whoever looks at ps
	UIDBase  uint32 // the first of Size user and group ids
	Size     uint32
	InGroup  bool
}

const (
	cloneSequence = 1
	cloneName     = 2
	cloneUIDBase  = 3
	cloneSize     = 4
	cloneInGroup  = 5
)

// Encode makes one message.
func (m Clone) Encode() []byte {
	w := newWriter(KindClone)
	w.uint(cloneSequence, m.Sequence)
	w.string(cloneName, m.Name)
	w.uint(cloneUIDBase, uint64(m.UIDBase))
	w.uint(cloneSize, uint64(m.Size))
	if m.InGroup {
		w.uint(cloneInGroup, 1)
	}
	return w.b
}

// DecodeClone reads one message.
func DecodeClone(message []byte) (m Clone, err error) {
	err = each(message, KindClone, func(f field) {
		switch f.number {
		case cloneSequence:
			m.Sequence = f.uint()
		case cloneName:
			m.Name = string(f.value)
		case cloneUIDBase:
			m.UIDBase = uint32(f.uint())
		case cloneSize:
			m.Size = uint32(f.uint())
		case cloneInGroup:
			m.InGroup = f.uint() != 0
		}
	})
	return m, err
}

// Cloned is the launcher's answer. Descriptor, where Error is empty: the pidfd.
type Cloned struct {
	Sequence uint64
	PID      uint32
	Error    string
}

const (
	clonedSequence = 1
	clonedPID      = 2
	clonedError    = 3
)

// Encode makes one message.
func (m Cloned) Encode() []byte {
	w := newWriter(KindCloned)
	w.uint(clonedSequence, m.Sequence)
	w.uint(clonedPID, uint64(m.PID))
	w.string(clonedError, m.Error)
	return w.b
}

// DecodeCloned reads one message.
func DecodeCloned(message []byte) (m Cloned, err error) {
	err = each(message, KindCloned, func(f field) {
		switch f.number {
		case clonedSequence:
			m.Sequence = f.uint()
		case clonedPID:
			m.PID = uint32(f.uint())
		case clonedError:
			m.Error = string(f.value)
		}
	})
	return m, err
}
