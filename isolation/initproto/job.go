package initproto

import "encoding/binary"

// Job is one process tree that PID 1 starts. Its fields are those of
// isolation.Job, which this package doesn't know.
type Job struct {
	Number    uint32
	Argv      []string
	Env       []string
	Dir       string
	UID, GID  uint32
	Groups    []uint32
	Umask     uint32
	Rlimits   []Rlimit // the last of a resource counts
	PidFile   string
	OutputMax uint64 // bytes kept of each output file; 0: all
	Fallback  []string
	// Session ties the job to the connection that asked for it: it is hung up when
	// that ends, and so is whoever is left of it when its first process does.
	Session bool `json:",omitempty"`
	// Terminal says that stdin is a terminal, which is to be the job's own.
	Terminal bool `json:",omitempty"`
}

// Rlimit is one resource limit, soft and hard alike.
type Rlimit struct {
	Resource uint32 // RLIMIT_AS, ...
	Value    uint64
}

const (
	jobNumber    = 1
	jobArg       = 2
	jobEnv       = 3
	jobDir       = 4
	jobUID       = 5
	jobGID       = 6
	jobGroup     = 7
	jobUmask     = 8
	jobFiles     = 9
	jobProcs     = 10
	jobPidFile   = 11
	jobOutputMax = 12
	jobFallback  = 13
	jobRlimit    = 14 // 4 bytes resource, 8 value; since version 2
	jobSession   = 15 // since version 3, and so the next
	jobTerminal  = 16
)

// How version 1 says the two limits that it knows; zero is none there.
const (
	resourceFiles = 7 // RLIMIT_NOFILE
	resourceProcs = 6 // RLIMIT_NPROC
)

func (j Job) fields() []byte {
	w := &writer{}
	w.uint(jobNumber, uint64(j.Number))
	w.strings(jobArg, j.Argv)
	w.strings(jobEnv, j.Env)
	w.string(jobDir, j.Dir)
	w.uint(jobUID, uint64(j.UID))
	w.uint(jobGID, uint64(j.GID))
	for _, group := range j.Groups {
		// Offset by one: zero is left out, but group 0 is a group.
		w.uint(jobGroup, uint64(group)+1)
	}
	w.uint(jobUmask, uint64(j.Umask))
	for _, r := range j.Rlimits {
		w.rlimit(r)
	}
	w.string(jobPidFile, j.PidFile)
	w.uint(jobOutputMax, j.OutputMax)
	w.strings(jobFallback, j.Fallback)
	w.flag(jobSession, j.Session)
	w.flag(jobTerminal, j.Terminal)
	return w.b
}

func (w *writer) rlimit(r Rlimit) {
	switch {
	case r.Resource == resourceFiles && r.Value != 0:
		w.uint(jobFiles, r.Value)
	case r.Resource == resourceProcs && r.Value != 0:
		w.uint(jobProcs, r.Value)
	default:
		value := binary.LittleEndian.AppendUint32(nil, r.Resource)
		w.bytes(jobRlimit, binary.LittleEndian.AppendUint64(value, r.Value))
	}
}

// Since is the version of the protocol that a PID 1 must speak to do all that
// the job asks.
func (j Job) Since() uint32 {
	if j.Session || j.Terminal {
		return 3
	}
	for _, r := range j.Rlimits {
		if r.Value == 0 || r.Resource != resourceFiles && r.Resource != resourceProcs {
			return 2
		}
	}
	return 1
}

func decodeJob(fields []byte) (*Job, error) {
	j := &Job{}
	var malformed error
	limit := func(resource uint32, value uint64) {
		j.Rlimits = append(j.Rlimits, Rlimit{resource, value})
	}
	err := eachField(fields, func(f field) {
		switch f.number {
		case jobNumber:
			j.Number = uint32(f.uint())
		case jobArg:
			j.Argv = append(j.Argv, string(f.value))
		case jobEnv:
			j.Env = append(j.Env, string(f.value))
		case jobDir:
			j.Dir = string(f.value)
		case jobUID:
			j.UID = uint32(f.uint())
		case jobGID:
			j.GID = uint32(f.uint())
		case jobGroup:
			j.Groups = append(j.Groups, uint32(f.uint()-1))
		case jobUmask:
			j.Umask = uint32(f.uint())
		case jobFiles:
			limit(resourceFiles, f.uint())
		case jobProcs:
			limit(resourceProcs, f.uint())
		case jobRlimit:
			if len(f.value) != 12 {
				malformed = ErrMalformed
				return
			}
			limit(binary.LittleEndian.Uint32(f.value), binary.LittleEndian.Uint64(f.value[4:]))
		case jobPidFile:
			j.PidFile = string(f.value)
		case jobOutputMax:
			j.OutputMax = f.uint()
		case jobFallback:
			j.Fallback = append(j.Fallback, string(f.value))
		case jobSession:
			j.Session = f.uint() != 0
		case jobTerminal:
			j.Terminal = f.uint() != 0
		}
	})
	if err == nil {
		err = malformed
	}
	if err == nil && (j.Number == 0 || len(j.Argv) == 0) {
		err = ErrMalformed
	}
	return j, err
}

// Spawn asks for a job. Descriptors: stdin, stdout, stderr, the exit record,
// and the folder that the output files are in.
type Spawn struct{ Job Job }

// SpawnDescriptors is how many descriptors come with every job.
const SpawnDescriptors = 5

// Encode makes one message.
func (m Spawn) Encode() []byte {
	return append(newWriter(KindSpawn).b, m.Job.fields()...)
}

// DecodeSpawn reads one message.
func DecodeSpawn(message []byte) (Spawn, error) {
	if kind, err := KindOf(message); err != nil || kind != KindSpawn {
		return Spawn{}, ErrMalformed
	}
	job, err := decodeJob(message[kindSize:])
	if err != nil {
		return Spawn{}, err
	}
	return Spawn{*job}, nil
}

// Started answers a Setup (KindSetupDone) or a Spawn (KindSpawned): the job
// runs, as this pid in its namespace. Number 0: there was no job.
type Started struct {
	Number uint32
	PID    uint32
}

const (
	startedNumber = 1
	startedPID    = 2
)

// Encode makes one message of the given kind.
func (m Started) Encode(kind Kind) []byte {
	w := newWriter(kind)
	w.uint(startedNumber, uint64(m.Number))
	w.uint(startedPID, uint64(m.PID))
	return w.b
}

// DecodeStarted reads one message of the given kind.
func DecodeStarted(message []byte, kind Kind) (m Started, err error) {
	err = each(message, kind, func(f field) {
		switch f.number {
		case startedNumber:
			m.Number = uint32(f.uint())
		case startedPID:
			m.PID = uint32(f.uint())
		}
	})
	return m, err
}

// Stop asks PID 1 to end every job: SIGTERM to every process at once and each
// second, SIGKILL when the grace is over.
type Stop struct{ GraceMillis uint64 }

// Encode makes one message.
func (m Stop) Encode() []byte {
	w := newWriter(KindStop)
	w.uint(1, m.GraceMillis)
	return w.b
}

// DecodeStop reads one message.
func DecodeStop(message []byte) (m Stop, err error) {
	err = each(message, KindStop, func(f field) {
		if f.number == 1 {
			m.GraceMillis = f.uint()
		}
	})
	return m, err
}

// Stopped says that no process but PID 1 is left.
func Stopped() []byte { return newWriter(KindStopped).b }
