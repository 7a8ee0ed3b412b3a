package client

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

// The shapes, units and errors below are wire/warden.md's (a to f), which was
// read from, and checked against, the original server. Every call that names a
// container may fail with "unknown handle"; those that need it active with
// "Container state must be one of 'active', current state is 'stopped'".
// "command exited with failure" stands for whatever else goes wrong in one.

func ask[R proto.Message](ctx context.Context, c *Client, request proto.Message) (R, error) {
	answer, err := c.Call(ctx, request)
	if err != nil {
		var none R
		return none, err
	}
	return answer.(R), nil
}

// Ping returns when the server has answered.
func (c *Client) Ping(ctx context.Context) error {
	_, err := c.Call(ctx, &protocol.PingRequest{})
	return err
}

// Echo returns the message, any bytes.
func (c *Client) Echo(ctx context.Context, message string) (string, error) {
	answer, err := ask[*protocol.EchoResponse](ctx, c, &protocol.EchoRequest{Message: &message})
	return answer.GetMessage(), err
}

// List returns the handles of all containers, stopped ones too, oldest first.
// Handles are any bytes.
func (c *Client) List(ctx context.Context) ([]string, error) {
	answer, err := ask[*protocol.ListResponse](ctx, c, &protocol.ListRequest{})
	return answer.GetHandles(), err
}

// Create makes a container and returns its handle: the one that was asked for,
// or 11 base-32 digits. All is optional: bind mounts (folders of the node, and
// where they appear), the grace time in seconds (without: the server's own),
// the handle, an address in the /30 wanted, and the root file system's folder.
//
// Errors: "container with handle: H already exists.", "Could not acquire
// network", "rootfs P not found", "Source path for bind mount does not exist: P".
func (c *Client) Create(ctx context.Context, request *protocol.CreateRequest) (handle string, err error) {
	answer, err := ask[*protocol.CreateResponse](ctx, c, request)
	return answer.GetHandle(), err
}

// Stop ends every job: SIGTERM, and SIGKILL after 10 s, or at once with kill.
// It returns when all have ended, with background at once. A container that is
// stopped already is no error.
func (c *Client) Stop(ctx context.Context, request *protocol.StopRequest) error {
	_, err := c.Call(ctx, request)
	return err
}

// Destroy stops a container, as Stop does, and takes it away.
func (c *Client) Destroy(ctx context.Context, handle string) error {
	_, err := c.Call(ctx, &protocol.DestroyRequest{Handle: &handle})
	return err
}

// Info tells all about a container: state ("active", "stopped"), events
// ("out of memory", ...), addresses, folder, jobs that run; memory in bytes,
// processor time in ns (usage) and 1/100 s (user, system), disk in bytes and
// inodes, bandwidth in bytes a second and bytes, 0xffffffff for no limit.
func (c *Client) Info(ctx context.Context, handle string) (*protocol.InfoResponse, error) {
	return ask[*protocol.InfoResponse](ctx, c, &protocol.InfoRequest{Handle: &handle})
}

// Spawn runs a script, given to bash on its standard input, as the user vcap or
// (privileged) root, and returns the job's number once it runs. Rlimits are
// soft and hard alike. What a job writes is kept for Link and Stream, unless
// discard_output; with log_tag it goes to syslog too. It needs an active
// container.
func (c *Client) Spawn(ctx context.Context, request *protocol.SpawnRequest) (job uint32, err error) {
	answer, err := ask[*protocol.SpawnResponse](ctx, c, request)
	return answer.GetJobId(), err
}

// Link waits for a job's end, and returns the exit status (as Stream does), all
// that it wrote, and the container's info after it. The first Link or Stream
// that has got all takes the job with it, also if its context has ended.
//
// Errors: "no such job".
func (c *Client) Link(ctx context.Context, handle string, job uint32) (*protocol.LinkResponse, error) {
	return ask[*protocol.LinkResponse](ctx, c, &protocol.LinkRequest{Handle: &handle, JobId: &job})
}

// Run is Spawn and Link in one.
func (c *Client) Run(ctx context.Context, request *protocol.RunRequest) (*protocol.RunResponse, error) {
	return ask[*protocol.RunResponse](ctx, c, request)
}

// NetIn leads a TCP port of the node to one of the container, which must be
// active, and returns both. Without host_port the server chooses one; without
// container_port it is the same.
func (c *Client) NetIn(ctx context.Context, request *protocol.NetInRequest) (*protocol.NetInResponse, error) {
	return ask[*protocol.NetInResponse](ctx, c, request)
}

// NetOut lets an active container reach a network (address, CIDR or "a-b"), a
// port or a port range ("8080:9080"), one of which is wanted. Protocol is TCP
// unless given.
//
// Errors: "Please specify network, port, and/or port_range.", "Port range
// maximum must be greater than minimum".
func (c *Client) NetOut(ctx context.Context, request *protocol.NetOutRequest) error {
	_, err := c.Call(ctx, request)
	return err
}

// CopyIn copies from the node into an active container, recursively: modes and
// symbolic links stay, and all becomes vcap's. A slash at the end of src_path
// means what is in it. The last part of dst_path is made.
func (c *Client) CopyIn(ctx context.Context, request *protocol.CopyInRequest) error {
	_, err := c.Call(ctx, request)
	return err
}

// CopyOut is the other way round, and works on a stopped container too. All
// becomes root's, or with owner ("user:group" of the node) theirs, together
// with what else is below dst_path.
func (c *Client) CopyOut(ctx context.Context, request *protocol.CopyOutRequest) error {
	_, err := c.Call(ctx, request)
	return err
}

// LimitMemory limits memory and swap together, in bytes, and returns the limit;
// without one in the request it only tells. 9223372036854771712 is no limit.
//
// Errors: "Failed setting memory limit: ..." where more is in use.
func (c *Client) LimitMemory(ctx context.Context, request *protocol.LimitMemoryRequest) (uint64, error) {
	answer, err := ask[*protocol.LimitMemoryResponse](ctx, c, request)
	return answer.GetLimitInBytes(), err
}

// LimitCPU sets the weight of the container among others (2 to 262144; 1024 is
// usual), and returns it; without one in the request it only tells.
func (c *Client) LimitCPU(ctx context.Context, request *protocol.LimitCpuRequest) (uint64, error) {
	answer, err := ask[*protocol.LimitCpuResponse](ctx, c, request)
	return answer.GetLimitInShares(), err
}

// LimitDisk limits what jobs may have on disk, and returns the limits; what the
// request leaves out stays. Blocks have 1 KiB and win over bytes; 0 is no limit.
func (c *Client) LimitDisk(ctx context.Context,
	request *protocol.LimitDiskRequest) (*protocol.LimitDiskResponse, error) {
	return ask[*protocol.LimitDiskResponse](ctx, c, request)
}

// LimitBandwidth limits traffic each way, by a rate in bytes a second and a
// burst in bytes, and echoes both. Info tells what they are.
func (c *Client) LimitBandwidth(ctx context.Context,
	request *protocol.LimitBandwidthRequest) (*protocol.LimitBandwidthResponse, error) {
	return ask[*protocol.LimitBandwidthResponse](ctx, c, request)
}
