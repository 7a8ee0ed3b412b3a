package agent

import (
	"context"
	"errors"
	"path/filepath"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/box"
	"github.com/deacon-agent/deacon/isolation/disk"
	"github.com/deacon-agent/deacon/isolation/output"
	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/socket"
	"github.com/deacon-agent/deacon/messaging/syslog"
)

// live is the box as Warden's clients use it: jobs and copies are those of the
// container's own users.
type live struct {
	*box.Box
	log hclog.Logger
}

var _ actors.Live = live{}

// Spawn adds what only the container's own list of users says.
func (l live) Spawn(ctx context.Context, id string, job isolation.Job) error {
	uid, gid, home, err := l.Account(ctx, id, job.User.Name)
	if err != nil {
		return err
	}
	job.User = isolation.User{UID: uid, GID: gid}
	job.Dir, job.Env = home, append([]string{"HOME=" + home}, job.Env...)
	return l.Box.Spawn(ctx, id, job)
}

// Limit lets a bound go that no driver of this machine can keep, as for
// applications: clients that name one with the others are to get those.
func (l live) Limit(ctx context.Context, id string, change isolation.LimitChange) (isolation.Limits, error) {
	limits, err := l.Box.Limit(ctx, id, change)
	if errors.Is(err, disk.ErrNoQuota) && change.DiskInodes != nil {
		change.DiskInodes = nil
		l.log.Debug("inodes can't be limited here", "container", id, "reason", err)
		return l.Box.Limit(ctx, id, change)
	}
	return limits, err
}

func (l live) CopyIn(ctx context.Context, id string, copy isolation.Copy) error {
	user, err := l.vcap(ctx, id)
	if err != nil {
		return err
	}
	return l.Box.CopyIn(ctx, id, copy, user)
}

func (l live) CopyOut(ctx context.Context, id string, copy isolation.Copy) error {
	user, err := l.vcap(ctx, id)
	if err != nil {
		return err
	}
	return l.Box.CopyOut(ctx, id, copy, user)
}

// vcap is who copies, as the container's own list of users has it.
func (l live) vcap(ctx context.Context, id string) (isolation.User, error) {
	uid, gid, _, err := l.Account(ctx, id, userName)
	return isolation.User{UID: uid, GID: gid}, err
}

// Folder is where the container's files lie: its jobs' are two below.
func (l live) Folder(id string) string { return filepath.Dir(filepath.Dir(l.JobFolder(id, 1))) }

// transcripts reads what jobs wrote from the files that they wrote to.
type transcripts struct {
	follower *output.Follower
	folder   func(id string, job uint32) string
	log      *machineLog
}

var _ actors.Transcripts = transcripts{}

func (t transcripts) files(w actors.Written) output.Files {
	return output.Files{Dir: t.folder(w.Container, w.Job), Done: w.Ended}
}

func (t transcripts) Follow(ctx context.Context, w actors.Written, take func(stream string, data []byte) error) error {
	return t.follower.FollowRaw(ctx, t.files(w), take)
}

func (t transcripts) Exceeds(ctx context.Context, w actors.Written, most int64) (bool, error) {
	return t.follower.Exceeds(ctx, t.files(w), most)
}

func (t transcripts) Gather(w actors.Written, most int64) (stdout, stderr []byte, exceeded bool, err error) {
	return output.Gather(t.folder(w.Container, w.Job), most)
}

// Tag sends each line, in the priority of its stream.
func (t transcripts) Tag(ctx context.Context, w actors.Written, tag string) error {
	return t.follower.Follow(ctx, t.files(w), func(lines []output.Line) error {
		for _, line := range lines {
			severity := syslog.Info
			if line.Stream == "stderr" {
				severity = syslog.Err
			}
			t.log.Write(severity, "warden."+tag, line.Text)
		}
		return nil
	})
}

// machineLog is the machine's syslog. Its writer begins at the first line, so
// that a node whose jobs have no tags has none, with a door or without.
type machineLog struct {
	socket string
	begin  sync.Once
	writer *syslog.Writer // nil: not begun, or closed before it was
}

func (l *machineLog) Write(severity syslog.Severity, tag string, line []byte) {
	l.begin.Do(func() { l.writer = syslog.New(l.socket) })
	if l.writer != nil {
		l.writer.Write(severity, tag, line)
	}
}

// Close ends the writer; one that hasn't begun never will.
func (l *machineLog) Close() error {
	l.begin.Do(func() {})
	if l.writer == nil {
		return nil
	}
	return l.writer.Close()
}

// clients are those of the door, once it is open.
type clients struct{ door func() *socket.Door }

var _ actors.Clients = clients{}

func (c clients) Chunk(ctx context.Context, ask messaging.Ask, stream string, data []byte) error {
	door := c.door()
	if door == nil {
		return actors.ErrClientGone
	}
	err := door.Chunk(ctx, ask, stream, data)
	if errors.Is(err, socket.ErrGone) {
		return actors.ErrClientGone
	}
	return err
}
