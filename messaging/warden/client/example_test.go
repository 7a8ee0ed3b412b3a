package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"google.golang.org/protobuf/proto"

	"github.com/deacon-agent/deacon/messaging/warden/client"
	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

func Example() {
	ctx := context.Background()
	c, err := client.Dial(ctx, "/tmp/warden.sock")
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	handle, err := c.Create(ctx, &protocol.CreateRequest{GraceTime: proto.Uint32(60)})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Destroy(ctx, handle)
	result, err := c.Run(ctx, &protocol.RunRequest{Handle: &handle, Script: proto.String("uname -r")})
	if refused, ok := errors.AsType[*client.ServerError](err); ok {
		log.Fatal("the server says ", refused.Text)
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.GetExitStatus(), result.GetStdout())
}

func ExampleClient_Stream() {
	ctx := context.Background()
	c, err := client.Dial(ctx, "/tmp/warden.sock")
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	status, _, err := c.Stream(ctx, "1j0shvimvsv", 1, func(stream string, data []byte) error {
		_, err := os.Stdout.Write(data)
		return err
	})
	fmt.Println(status, err)
}
