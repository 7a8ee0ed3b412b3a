package main

import (
	"context"
	"fmt"
	"io"

	"github.com/deacon-agent/deacon/messaging/warden/client"
	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

// scriptStatus is the status that a job ended with, where it isn't 0. After one
// command it is the process's own.
type scriptStatus uint32

func (s scriptStatus) Error() string { return fmt.Sprintf("exit status %d", uint32(s)) }

// run is spawn and stream: the output comes live, and any amount of it.
func (w *wardenShell) run(ctx context.Context, r *protocol.RunRequest) error {
	answer, err := w.call(ctx, &protocol.SpawnRequest{
		Handle: r.Handle, Script: r.Script, Privileged: r.Privileged, Rlimits: r.Rlimits,
		DiscardOutput: r.DiscardOutput, LogTag: r.LogTag,
	})
	if err != nil {
		return err
	}
	job := answer.(*protocol.SpawnResponse).GetJobId()
	err = w.stream(ctx, r.GetHandle(), job)
	if ctx.Err() != nil {
		w.note("job %d runs on; its output, from the beginning: %s", job,
			w.way("stream", "--handle", r.GetHandle(), "--job_id", fmt.Sprint(job)))
	}
	return err
}

// stream shows a job's output until it ends. A server that went away has all
// of it again; what was shown before isn't shown twice.
func (w *wardenShell) stream(ctx context.Context, handle string, job uint32) error {
	var status uint32
	shown := map[string]int{} // bytes, by stream
	err := w.connected(ctx, true, func(c *client.Client) error {
		skip := map[string]int{}
		for stream, n := range shown {
			skip[stream] = n
		}
		code, info, err := c.Stream(ctx, handle, job, func(stream string, data []byte) error {
			known := min(skip[stream], len(data))
			skip[stream] -= known
			shown[stream] += len(data) - known
			return w.showChunk(stream, data[known:])
		})
		if err != nil {
			return err
		}
		status = code
		return w.showEnd(code, info)
	})
	if err == nil && status != 0 {
		return scriptStatus(status)
	}
	return err
}

func (w *wardenShell) showChunk(stream string, data []byte) error {
	var err error
	switch text := string(data); {
	case text == "":
	case w.json:
		chunk := &protocol.StreamResponse{Name: &stream, Data: &text}
		err = printAnswerJSON(w.out, chunk.ProtoReflect())
	default:
		_, err = w.output(stream).Write(data)
	}
	return err
}

func (w *wardenShell) output(stream string) io.Writer {
	if stream == "stderr" {
		return w.errs
	}
	return w.out
}

func (w *wardenShell) showEnd(status uint32, info *protocol.InfoResponse) error {
	if !w.json {
		return nil
	}
	end := &protocol.StreamResponse{ExitStatus: &status, Info: info}
	return printAnswerJSON(w.out, end.ProtoReflect())
}
