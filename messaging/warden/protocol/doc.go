// Package protocol holds the messages of Warden's protocol, generated from
// messaging/warden/warden.proto. Its strings are any bytes, not text: a handle
// and a job's output are what they are.
package protocol
