package warden

import (
	"math"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

// blockSize is that of the protocol's blocks, and of disk quotas.
const blockSize = 1024

// limitDisk finds the limit that counts among the twelve that can be given:
// blocks before bytes, and of each _hard before the bare name before _limit.
//
// The node's limits are hard. A soft one, which a quota would enforce after a
// week, is taken for the limit where no hard one stands beside it; a soft 0
// says that there is none, and lifts nothing.
func limitDisk(r *protocol.LimitDiskRequest, ask messaging.Ask) messaging.Command {
	return messaging.LimitDisk{
		Ask:    ask,
		Handle: r.GetHandle(),
		Blocks: first(
			r.BlockHard, r.Block, r.BlockLimit,
			blocks(r.ByteHard), blocks(r.Byte), blocks(r.ByteLimit),
			limit(first(r.BlockSoft, blocks(r.ByteSoft))),
		),
		Inodes: first(r.InodeHard, r.Inode, r.InodeLimit, limit(r.InodeSoft)),
	}
}

// first is the first that was given.
func first(numbers ...*uint64) *uint64 {
	for _, n := range numbers {
		if n != nil {
			return n
		}
	}
	return nil
}

// blocks hold so many bytes.
func blocks(bytes *uint64) *uint64 {
	if bytes == nil {
		return nil
	}
	n := *bytes / blockSize
	if *bytes%blockSize > 0 {
		n++
	}
	return &n
}

// limit is a number that limits, which 0 doesn't.
func limit(n *uint64) *uint64 {
	if n == nil || *n == 0 {
		return nil
	}
	return n
}

// diskLimited tells the one limit by all of its names.
func diskLimited(a messaging.DiskLimited) *protocol.LimitDiskResponse {
	if a.Off {
		return &protocol.LimitDiskResponse{}
	}
	blocks, inodes, bytes := &a.Blocks, &a.Inodes, uint64(math.MaxUint64)
	if a.Blocks <= math.MaxUint64/blockSize {
		bytes = a.Blocks * blockSize
	}
	return &protocol.LimitDiskResponse{
		BlockLimit: blocks, Block: blocks, BlockSoft: blocks, BlockHard: blocks,
		InodeLimit: inodes, Inode: inodes, InodeSoft: inodes, InodeHard: inodes,
		ByteLimit: &bytes, Byte: &bytes, ByteSoft: &bytes, ByteHard: &bytes,
	}
}
