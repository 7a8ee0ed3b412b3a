package box

import (
	"context"
	"os"

	"github.com/deacon-agent/deacon/isolation"
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
