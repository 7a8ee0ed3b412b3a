package main

import (
	"slices"
	"strings"
	"sync"
	"unicode"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

// wardenCommand is a request that can be made by its name.
type wardenCommand struct {
	name    string // "net_in" is NetInRequest
	request protoreflect.MessageType
}

// wardenCommands are all that the protocol has, sorted by name.
var wardenCommands = sync.OnceValue(func() []wardenCommand {
	var commands []wardenCommand
	messages := protocol.File_messaging_warden_warden_proto.Messages()
	for i := range messages.Len() {
		name, isRequest := strings.CutSuffix(string(messages.Get(i).Name()), "Request")
		if !isRequest {
			continue
		}
		request, err := protoregistry.GlobalTypes.FindMessageByName(messages.Get(i).FullName())
		if err != nil {
			panic(err) // generated code registers all that it has
		}
		commands = append(commands, wardenCommand{snakeCase(name), request})
	}
	slices.SortFunc(commands, func(a, b wardenCommand) int { return strings.Compare(a.name, b.name) })
	return commands
})

// findCommand finds a command by its name, whatever the case.
func findCommand(name string) (wardenCommand, bool) {
	for _, c := range wardenCommands() {
		if strings.EqualFold(c.name, name) {
			return c, true
		}
	}
	return wardenCommand{}, false
}

// snakeCase writes NetIn as net_in.
func snakeCase(camel string) string {
	var snake strings.Builder
	for i, r := range camel {
		if unicode.IsUpper(r) && i > 0 {
			snake.WriteByte('_')
		}
		snake.WriteRune(unicode.ToLower(r))
	}
	return snake.String()
}

func (c wardenCommand) fields() protoreflect.MessageDescriptor { return c.request.Descriptor() }
