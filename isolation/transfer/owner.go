package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Owner is who files of the node are to belong to; -1 leaves what is.
type Owner struct{ uid, gid int }

// FindOwner looks "user", "user:group", "user:" (the user's own group) or
// ":group" up on the node, each a name or a number, as chown(1) does.
func FindOwner(text string) (Owner, error) {
	name, group, both := strings.Cut(text, ":")
	owner := Owner{-1, -1}
	if name == "" && group == "" {
		return owner, fmt.Errorf("transfer: owner %q: there is no user and no group in it", text)
	}
	if name != "" {
		found, err := findUser(name)
		if err != nil {
			return owner, fmt.Errorf("transfer: owner %q: %w", text, err)
		}
		owner.uid = found.uid
		if both && group == "" {
			owner.gid = found.gid
		}
	}
	if group != "" {
		gid, err := findGroup(group)
		if err != nil {
			return owner, fmt.Errorf("transfer: owner %q: %w", text, err)
		}
		owner.gid = gid
	}
	return owner, nil
}

func findUser(name string) (Owner, error) {
	found, err := user.Lookup(name)
	if err != nil {
		if uid, ok := number(name); ok {
			return Owner{uid, -1}, nil
		}
		return Owner{}, err
	}
	uid, uidErr := strconv.Atoi(found.Uid)
	gid, gidErr := strconv.Atoi(found.Gid)
	return Owner{uid, gid}, errors.Join(uidErr, gidErr)
}

func findGroup(name string) (int, error) {
	found, err := user.LookupGroup(name)
	if err != nil {
		if gid, ok := number(name); ok {
			return gid, nil
		}
		return 0, err
	}
	return strconv.Atoi(found.Gid)
}

// number reads an id; the greatest means "leave it" to the kernel and is none.
func number(text string) (int, bool) {
	n, err := strconv.ParseUint(text, 10, 32)
	return int(n), err == nil && n != 1<<32-1
}

// Take gives the owner what lies at a path of the node and all below it. A link
// at the path is followed, links below it are given away themselves.
func (o Owner) Take(ctx context.Context, path string) error {
	return Side{}.work(func(root int) error {
		at, err := resolve(root, path, unix.O_PATH)
		if err != nil {
			return err
		}
		defer at.Close()
		return o.take(ctx, at, path, 0)
	})
}

func (o Owner) take(ctx context.Context, at *os.File, path string, depth int) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if depth > DepthMax {
		return failed("change the owner of", path, errDeep)
	}
	if err := unix.Fchownat(int(at.Fd()), "", o.uid, o.gid, unix.AT_EMPTY_PATH); err != nil {
		return failed("change the owner of", path, err)
	}
	st, err := status(at)
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return failed("stat", path, err)
	}
	dir, err := openIn(at, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return failed("open", path, err)
	}
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(namesMax)
		for _, name := range names {
			if err := o.takeIn(ctx, dir, join(path, name), depth+1); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return failed("read", path, cause(err))
		}
	}
}

// takeIn is take for the path's last component in a folder.
func (o Owner) takeIn(ctx context.Context, dir *os.File, path string, depth int) error {
	inside, err := openIn(dir, path[strings.LastIndexByte(path, '/')+1:], unix.O_PATH)
	if errors.Is(err, unix.ENOENT) {
		return nil // gone meanwhile
	}
	if err != nil {
		return failed("open", path, err)
	}
	defer inside.Close()
	return o.take(ctx, inside, path, depth)
}
