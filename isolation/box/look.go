package box

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/rootfs"
	"github.com/deacon-agent/deacon/isolation/transfer"
)

// Look opens a file or a folder of vcap's home for reading, as the user that has
// these numbers inside. Links and ".." are followed as the container would, with
// all that is mounted there by now; whatever lies outside of the home in the end
// is fs.ErrPermission. What was opened stays readable when the container is gone.
func (b *Box) Look(ctx context.Context, id, path string, user isolation.User) (file *os.File, err error) {
	err = b.copy(ctx, id, user, func(_ context.Context, inside transfer.Side) (err error) {
		inside.Path = path
		file, err = transfer.Open(inside, insideHome)
		return err
	})
	return file, err
}

// Read returns a file of vcap's home, of at most most bytes, as vcap may read it.
func (b *Box) Read(ctx context.Context, id, path string, most int64) ([]byte, error) {
	file, err := b.Look(ctx, id, path, isolation.User{UID: rootfs.VcapID, GID: rootfs.VcapID})
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(content)) > most {
		err = fmt.Errorf("it is longer than %d bytes", most)
	}
	if err != nil {
		return nil, fmt.Errorf("box: read %s of %s: %w", path, id, err)
	}
	return content, nil
}
