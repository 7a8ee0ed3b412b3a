package client

import (
	"context"

	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

// Stream takes a job's output as it comes, from its beginning, and returns when
// the job has ended. It calls emit for each chunk, with "stdout" or "stderr"
// and at most some 64 KiB that are emit's to keep; never with nothing. While
// emit takes its time nothing is read, and in the end the job is held up.
//
// The status is 0 to 255; 255 is also death by a signal, the output's limit, or
// the server's own failure. The info is from when the stream began, so that the
// job may still be among its job_ids.
//
// The first that has got all takes the job with it: later there is "no such
// job". If emit fails, or ctx ends, Stream returns that error at once; but the
// connection stays with the stream until the job ends. Reconnect is free of it,
// and the job then is left for another Stream if more output follows.
//
// Errors of the server: unknown handle, no such job.
func (c *Client) Stream(ctx context.Context, handle string, job uint32,
	emit func(stream string, data []byte) error) (status uint32, info *protocol.InfoResponse, err error) {
	request := &protocol.StreamRequest{Handle: &handle, JobId: &job}
	kind, err := kindOf(request)
	if err != nil {
		return 0, nil, err
	}
	wait, err := c.current().send(ctx, kind, request)
	if err != nil {
		return 0, nil, err
	}
	defer close(wait.left)
	for {
		answer, err := wait.next(ctx)
		if err != nil {
			return 0, nil, err
		}
		chunk := answer.(*protocol.StreamResponse)
		if chunk.ExitStatus != nil {
			return chunk.GetExitStatus(), chunk.Info, nil
		}
		if err := emit(chunk.GetName(), []byte(chunk.GetData())); err != nil {
			return 0, nil, err
		}
	}
}
