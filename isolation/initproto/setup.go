package initproto

// Setup is everything PID 1 needs to finish its container from the inside.
// Descriptors, in order: root, dev, listener, oom counter, one for each of
// Binds, Joins for the jobs' cgroups, and where Job is not nil its stdin,
// stdout, stderr, exit record and their folder.
type Setup struct {
	ID       string // the container's
	Epoch    uint32 // of its slot
	Hostname string
	Filter   []byte   // struct sock_filter array, installed before every job
	Binds    []string // absolute targets inside the container
	ShmBytes uint64   // size of /dev/shm
	Join     JoinKind
	Joins    uint32 // how many descriptors join the jobs' cgroups
	Link     *Link  // nil: loopback only
	Job      *Job   // started in the same round trip; nil: none
}

// JoinKind says how a process gets into the jobs' cgroups.
type JoinKind uint8

// On v1 a thread writes "0" into each hierarchy's tasks file; on v2 the child
// is born inside by CLONE_INTO_CGROUP.
const (
	JoinTasks JoinKind = 1
	JoinClone JoinKind = 2
)

// Link is the container's end of its veth.
type Link struct {
	Name    string
	Address [4]byte
	Prefix  uint8
	Gateway [4]byte
}

const (
	setupID       = 1
	setupEpoch    = 2
	setupHostname = 3
	setupFilter   = 4
	setupBind     = 5
	setupShm      = 6
	setupJoin     = 7
	setupJoins    = 8
	setupLinkName = 9
	setupAddress  = 10 // 4 bytes address, 1 prefix, 4 gateway
	setupJob      = 11
)

// Encode makes one message.
func (s Setup) Encode() []byte {
	w := newWriter(KindSetup)
	w.string(setupID, s.ID)
	w.uint(setupEpoch, uint64(s.Epoch))
	w.string(setupHostname, s.Hostname)
	w.bytes(setupFilter, s.Filter)
	w.strings(setupBind, s.Binds)
	w.uint(setupShm, s.ShmBytes)
	w.uint(setupJoin, uint64(s.Join))
	w.uint(setupJoins, uint64(s.Joins))
	if s.Link != nil {
		w.string(setupLinkName, s.Link.Name)
		address := append(append([]byte{}, s.Link.Address[:]...), s.Link.Prefix)
		w.bytes(setupAddress, append(address, s.Link.Gateway[:]...))
	}
	if s.Job != nil {
		w.bytes(setupJob, s.Job.fields())
	}
	return w.b
}

// DecodeSetup reads one message.
func DecodeSetup(message []byte) (Setup, error) {
	var s Setup
	var malformed error
	err := each(message, KindSetup, func(f field) {
		switch f.number {
		case setupID:
			s.ID = string(f.value)
		case setupEpoch:
			s.Epoch = uint32(f.uint())
		case setupHostname:
			s.Hostname = string(f.value)
		case setupFilter:
			s.Filter = append([]byte{}, f.value...)
		case setupBind:
			s.Binds = append(s.Binds, string(f.value))
		case setupShm:
			s.ShmBytes = f.uint()
		case setupJoin:
			s.Join = JoinKind(f.uint())
		case setupJoins:
			s.Joins = uint32(f.uint())
		case setupLinkName:
			s.link().Name = string(f.value)
		case setupAddress:
			malformed = s.link().decodeAddress(f.value)
		case setupJob:
			s.Job, malformed = decodeJob(f.value)
		}
	})
	if err != nil {
		return Setup{}, err
	}
	return s, malformed
}

func (s *Setup) link() *Link {
	if s.Link == nil {
		s.Link = &Link{}
	}
	return s.Link
}

func (l *Link) decodeAddress(value []byte) error {
	if len(value) != 9 {
		return ErrMalformed
	}
	copy(l.Address[:], value)
	l.Prefix = value[4]
	copy(l.Gateway[:], value[5:])
	return nil
}

// Failed is the answer to a Setup or a Spawn that could not be done.
type Failed struct {
	Job  uint32 // 0: the set-up
	Step string // what PID 1 was doing
	Text string // the kernel's words
}

const (
	failedJob  = 1
	failedStep = 2
	failedText = 3
)

// Encode makes one message.
func (m Failed) Encode() []byte {
	w := newWriter(KindFailed)
	w.uint(failedJob, uint64(m.Job))
	w.string(failedStep, m.Step)
	w.string(failedText, m.Text)
	return w.b
}

// DecodeFailed reads one message.
func DecodeFailed(message []byte) (m Failed, err error) {
	err = each(message, KindFailed, func(f field) {
		switch f.number {
		case failedJob:
			m.Job = uint32(f.uint())
		case failedStep:
			m.Step = string(f.value)
		case failedText:
			m.Text = string(f.value)
		}
	})
	return m, err
}
