package warden

import "google.golang.org/protobuf/encoding/protowire"

// Chunk is the frame of a part of a job's output, "stdout" or "stderr". It is a
// StreamResponse that has a name and data, and never an exit_status.
func Chunk(stream string, data []byte) []byte {
	frame := make([]byte, 0, chunkHeadMax+len(stream)+len(data)+len(FrameEnd))
	frame = append(AppendChunkHead(frame, stream, len(data)), data...)
	return append(frame, FrameEnd...)
}

// chunkHeadMax is enough for what stands before a chunk's data, its name aside.
const chunkHeadMax = headMax + 16

// AppendChunkHead adds to dst what stands before n bytes of data in the frame
// of a chunk; after the data comes FrameEnd. So the data needn't be copied: the
// three can be written with one writev(2), which net.Buffers does.
func AppendChunkHead(dst []byte, stream string, n int) []byte {
	payload := protowire.SizeTag(fieldName) + protowire.SizeBytes(len(stream)) +
		protowire.SizeTag(fieldData) + protowire.SizeBytes(n)
	dst = appendHead(dst, TypeStream, payload)
	dst = protowire.AppendTag(dst, fieldName, protowire.BytesType)
	dst = protowire.AppendString(dst, stream)
	dst = protowire.AppendTag(dst, fieldData, protowire.BytesType)
	return protowire.AppendVarint(dst, uint64(n))
}
