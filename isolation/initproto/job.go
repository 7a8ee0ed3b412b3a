package initproto

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
	Files     uint64 // RLIMIT_NOFILE; 0: as inherited
	Procs     uint64 // RLIMIT_NPROC; 0: as inherited
	PidFile   string
	OutputMax uint64 // bytes kept of each output file; 0: all
	Fallback  []string
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
	w.uint(jobFiles, j.Files)
	w.uint(jobProcs, j.Procs)
	w.string(jobPidFile, j.PidFile)
	w.uint(jobOutputMax, j.OutputMax)
	w.strings(jobFallback, j.Fallback)
	return w.b
}

func decodeJob(fields []byte) (*Job, error) {
	j := &Job{}
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
			j.Files = f.uint()
		case jobProcs:
			j.Procs = f.uint()
		case jobPidFile:
			j.PidFile = string(f.value)
		case jobOutputMax:
			j.OutputMax = f.uint()
		case jobFallback:
			j.Fallback = append(j.Fallback, string(f.value))
		}
	})
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
