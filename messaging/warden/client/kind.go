package client

import (
	"fmt"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/deacon-agent/deacon/messaging/warden"
	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

// kind is a kind of request, with what answers it.
type kind struct {
	request  warden.Type
	response protoreflect.MessageType
}

// kinds has each kind by its request's name. The names are Warden's: type
// NetIn has NetInRequest and NetInResponse. Errors answer every kind and have
// no request.
var kinds = sync.OnceValue(func() map[protoreflect.FullName]kind {
	found := map[protoreflect.FullName]kind{}
	file := protocol.File_messaging_warden_warden_proto
	types := warden.TypeError.Descriptor().Values()
	for i := range types.Len() {
		name := types.Get(i).Name()
		request := file.Messages().ByName(name + "Request")
		if request == nil {
			continue
		}
		response, err := protoregistry.GlobalTypes.FindMessageByName(file.Package().Append(name + "Response"))
		if err != nil {
			panic(fmt.Sprintf("client: %sRequest has no response: %v", name, err)) // the .proto file is ours
		}
		found[request.FullName()] = kind{warden.Type(types.Get(i).Number()), response}
	}
	return found
})

func kindOf(request proto.Message) (kind, error) {
	name := request.ProtoReflect().Descriptor().FullName()
	k, ok := kinds()[name]
	if !ok {
		return kind{}, fmt.Errorf("client: %s is no request", name)
	}
	return k, nil
}
