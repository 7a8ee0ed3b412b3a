package warden

// The messages of package protocol are generated. After a change of
// warden.proto: `apt-get install protobuf-compiler` (3.21), then
// `go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12`, with
// GOBIN in the PATH, and `go generate ./messaging/warden`.
//
//go:generate -command compile protoc -I ../.. --go_out=../.. --go_opt=module=github.com/deacon-agent/deacon
//go:generate compile messaging/warden/warden.proto
