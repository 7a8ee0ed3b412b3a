package client

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

// V1Error says what is wrong with a text command; it was not sent.
type V1Error struct{ Reason string }

func (e *V1Error) Error() string { return e.Reason }

func refuseV1(format string, args ...any) error { return &V1Error{fmt.Sprintf(format, args...)} }

// V1 sends a text command of the first version, whose clients knew no protobuf,
// and returns what they got (wire/warden.md i):
//
//	create [CONFIG]           handle            string
//	stop H, destroy H         "ok"
//	info H                    by field name     map[string]any
//	spawn H SCRIPT            number            uint32
//	link H ID                 status, out, err  []any{uint32, string, string}
//	run H SCRIPT              status, out, err
//	stream H ID               of each chunk     []any of []any{name, data, status}, as in V1Stream
//	net H in                  by name           map[string]any{"host_port": uint32, "container_port": uint32}
//	net H out NETWORK[:PORT]  "ok"
//	copy H in SRC DST         "ok"
//	copy H out SRC DST [OWNER]
//	limit H mem [BYTES]       bytes             uint64
//	limit H disk [BYTES]      bytes             uint64
//	limit H bandwidth RATE BURST                "rate: R burst: B"
//	ping                      "pong"
//	list                      handles           []string
//	echo TEXT                 the text          string
//
// CONFIG is a JSON object with "bind_mounts": [[SRC, DST, "ro" or {"mode": "rw"}], ...]
// and "grace_time": seconds. A command that isn't right is a *V1Error.
func (c *Client) V1(ctx context.Context, command ...string) (any, error) {
	if len(command) == 0 {
		return nil, refuseV1("no command")
	}
	form, ok := v1Forms[command[0]]
	if !ok {
		return nil, refuseV1("unknown command: %s; there is %s", command[0], strings.Join(V1Commands(), ", "))
	}
	args := command[1:]
	if len(args) < form.least || len(args) > form.most {
		return nil, refuseV1("usage: %s", form.usage)
	}
	return form.ask(ctx, c, args)
}

// V1Commands are the text commands, sorted.
func V1Commands() []string {
	var names []string
	for name := range v1Forms {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// V1Stream is the text command "stream H ID": it hands over each chunk as
// name, data and nil, and at last nil, nil and the status.
func (c *Client) V1Stream(ctx context.Context, handle, id string, emit func(chunk []any) error) error {
	job, err := v1Number(id, 32)
	if err != nil {
		return err
	}
	status, _, err := c.Stream(ctx, handle, uint32(job), func(stream string, data []byte) error {
		return emit([]any{stream, string(data), nil})
	})
	if err != nil {
		return err
	}
	return emit([]any{nil, nil, status})
}

// v1Form is how a text command is written, and what it asks.
type v1Form struct {
	usage       string
	least, most int // arguments
	ask         func(ctx context.Context, c *Client, args []string) (any, error)
}

// v1Forms is filled by init because what asks leads back to it.
var v1Forms map[string]v1Form

func init() {
	v1Forms = map[string]v1Form{
		"create":  {"create [CONFIG]", 0, 1, v1Create},
		"stop":    {"stop HANDLE", 1, 1, v1Stop},
		"destroy": {"destroy HANDLE", 1, 1, v1Destroy},
		"info":    {"info HANDLE", 1, 1, v1Info},
		"spawn":   {"spawn HANDLE SCRIPT", 2, 2, v1Spawn},
		"link":    {"link HANDLE JOB", 2, 2, v1Link},
		"stream":  {"stream HANDLE JOB", 2, 2, v1Chunks},
		"run":     {"run HANDLE SCRIPT", 2, 2, v1Run},
		"net":     {"net HANDLE in, or net HANDLE out NETWORK[:PORT]", 2, 3, v1Net},
		"copy":    {"copy HANDLE in SRC DST, or copy HANDLE out SRC DST [OWNER]", 4, 5, v1Copy},
		"limit":   {"limit HANDLE mem [BYTES], disk [BYTES], or bandwidth RATE BURST", 2, 4, v1Limit},
		"ping":    {"ping", 0, 0, v1Ping},
		"list":    {"list", 0, 0, v1List},
		"echo":    {"echo TEXT", 1, 1, v1Echo},
	}
}

const v1OK = "ok"

// orOK is the answer of what has nothing to tell.
func orOK(err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return v1OK, nil
}

// orElse is value, unless there is an error.
func orElse(value any, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return value, nil
}

func v1Number(text string, bits int) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, bits)
	if err != nil {
		return 0, refuseV1("%q is no number", text)
	}
	return n, nil
}

func v1Ping(ctx context.Context, c *Client, _ []string) (any, error) {
	return orElse("pong", c.Ping(ctx))
}

func v1List(ctx context.Context, c *Client, _ []string) (any, error) {
	handles, err := c.List(ctx)
	return orElse(append([]string{}, handles...), err)
}

func v1Echo(ctx context.Context, c *Client, args []string) (any, error) {
	message, err := c.Echo(ctx, args[0])
	return orElse(message, err)
}

func v1Create(ctx context.Context, c *Client, args []string) (any, error) {
	request := &protocol.CreateRequest{}
	if len(args) == 1 {
		var err error
		if request, err = v1Config(args[0]); err != nil {
			return nil, err
		}
	}
	handle, err := c.Create(ctx, request)
	return orElse(handle, err)
}

// v1Config reads the argument of create.
func v1Config(text string) (*protocol.CreateRequest, error) {
	var config struct {
		BindMounts [][]json.RawMessage `json:"bind_mounts"`
		GraceTime  *uint32             `json:"grace_time"`
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&config); err != nil {
		return nil, refuseV1("create: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	request := &protocol.CreateRequest{GraceTime: config.GraceTime}
	for i, mount := range config.BindMounts {
		if len(mount) != 3 {
			return nil, refuseV1("create: bind_mounts[%d] has %d elements; want source, target and mode", i, len(mount))
		}
		var source, target string
		mode, err := v1Mode(mount[2])
		for j, part := range []*string{&source, &target} {
			if err == nil {
				err = json.Unmarshal(mount[j], part)
			}
		}
		if err != nil {
			return nil, refuseV1("create: bind_mounts[%d]: %s", i, strings.TrimPrefix(err.Error(), "json: "))
		}
		request.BindMounts = append(request.BindMounts, &protocol.CreateRequest_BindMount{
			SrcPath: &source, DstPath: &target, Mode: mode.Enum(),
		})
	}
	return request, nil
}

// v1Mode reads "ro", or {"mode": "ro"}.
func v1Mode(raw json.RawMessage) (protocol.CreateRequest_BindMount_Mode, error) {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		var object struct{ Mode string }
		if err := json.Unmarshal(raw, &object); err != nil {
			return 0, err
		}
		text = object.Mode
	}
	number, ok := protocol.CreateRequest_BindMount_Mode_value[strings.ToUpper(text)]
	if !ok {
		return 0, fmt.Errorf("mode %q is neither ro nor rw", text)
	}
	return protocol.CreateRequest_BindMount_Mode(number), nil
}

func v1Stop(ctx context.Context, c *Client, args []string) (any, error) {
	return orOK(c.Stop(ctx, &protocol.StopRequest{Handle: &args[0]}))
}

func v1Destroy(ctx context.Context, c *Client, args []string) (any, error) {
	return orOK(c.Destroy(ctx, args[0]))
}

func v1Info(ctx context.Context, c *Client, args []string) (any, error) {
	info, err := c.Info(ctx, args[0])
	if err != nil {
		return nil, err
	}
	return byName(info.ProtoReflect()), nil
}

// byName has the fields that a message has, by their names.
func byName(m protoreflect.Message) map[string]any {
	fields := map[string]any{}
	m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch name := string(field.Name()); {
		case field.IsList():
			var values []any
			for i := range v.List().Len() {
				values = append(values, v.List().Get(i).Interface())
			}
			fields[name] = values
		case field.Message() != nil:
			fields[name] = byName(v.Message())
		default:
			fields[name] = v.Interface()
		}
		return true
	})
	return fields
}

func v1Spawn(ctx context.Context, c *Client, args []string) (any, error) {
	job, err := c.Spawn(ctx, &protocol.SpawnRequest{Handle: &args[0], Script: &args[1]})
	return orElse(job, err)
}

func v1Link(ctx context.Context, c *Client, args []string) (any, error) {
	job, err := v1Number(args[1], 32)
	if err != nil {
		return nil, err
	}
	ended, err := c.Link(ctx, args[0], uint32(job))
	return orElse([]any{ended.GetExitStatus(), ended.GetStdout(), ended.GetStderr()}, err)
}

func v1Run(ctx context.Context, c *Client, args []string) (any, error) {
	ended, err := c.Run(ctx, &protocol.RunRequest{Handle: &args[0], Script: &args[1]})
	return orElse([]any{ended.GetExitStatus(), ended.GetStdout(), ended.GetStderr()}, err)
}

func v1Chunks(ctx context.Context, c *Client, args []string) (any, error) {
	var chunks []any
	err := c.V1Stream(ctx, args[0], args[1], func(chunk []any) error {
		chunks = append(chunks, chunk)
		return nil
	})
	return orElse(chunks, err)
}

func v1Net(ctx context.Context, c *Client, args []string) (any, error) {
	switch direction := args[1]; {
	case direction == "in" && len(args) == 2:
		ports, err := c.NetIn(ctx, &protocol.NetInRequest{Handle: &args[0]})
		return orElse(map[string]any{"host_port": ports.GetHostPort(), "container_port": ports.GetContainerPort()}, err)
	case direction == "out" && len(args) == 3:
		request := &protocol.NetOutRequest{Handle: &args[0]}
		network, port, hasPort := strings.Cut(args[2], ":")
		if network != "" {
			request.Network = &network
		}
		if hasPort {
			number, err := v1Number(port, 16)
			if err != nil {
				return nil, err
			}
			request.Port = proto.Uint32(uint32(number))
		}
		return orOK(c.NetOut(ctx, request))
	case direction == "in" || direction == "out":
		return nil, refuseV1("usage: %s", v1Forms["net"].usage)
	default:
		return nil, refuseV1("unknown direction: %s", direction)
	}
}

func v1Copy(ctx context.Context, c *Client, args []string) (any, error) {
	handle, direction, source, target := &args[0], args[1], &args[2], &args[3]
	switch {
	case direction == "in" && len(args) == 4:
		return orOK(c.CopyIn(ctx, &protocol.CopyInRequest{Handle: handle, SrcPath: source, DstPath: target}))
	case direction == "out":
		request := &protocol.CopyOutRequest{Handle: handle, SrcPath: source, DstPath: target}
		if len(args) == 5 {
			request.Owner = &args[4]
		}
		return orOK(c.CopyOut(ctx, request))
	case direction == "in":
		return nil, refuseV1("usage: %s", v1Forms["copy"].usage)
	default:
		return nil, refuseV1("unknown direction: %s", direction)
	}
}

func v1Limit(ctx context.Context, c *Client, args []string) (any, error) {
	var numbers []uint64
	for _, text := range args[2:] {
		n, err := v1Number(text, 64)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, n)
	}
	var first *uint64
	if len(numbers) > 0 {
		first = &numbers[0]
	}
	switch resource := args[1]; {
	case resource == "mem" && len(numbers) < 2:
		bytes, err := c.LimitMemory(ctx, &protocol.LimitMemoryRequest{Handle: &args[0], LimitInBytes: first})
		return orElse(bytes, err)
	case resource == "disk" && len(numbers) < 2:
		limits, err := c.LimitDisk(ctx, &protocol.LimitDiskRequest{Handle: &args[0], Byte: first})
		return orElse(limits.GetByte(), err)
	case resource == "bandwidth" && len(numbers) == 2:
		limits, err := c.LimitBandwidth(ctx,
			&protocol.LimitBandwidthRequest{Handle: &args[0], Rate: first, Burst: &numbers[1]})
		return orElse(fmt.Sprintf("rate: %d burst: %d", limits.GetRate(), limits.GetBurst()), err)
	case resource == "mem" || resource == "disk" || resource == "bandwidth":
		return nil, refuseV1("usage: %s", v1Forms["limit"].usage)
	default:
		return nil, refuseV1("unknown limit: %s", resource)
	}
}
