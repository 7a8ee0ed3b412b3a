package disk

import (
	"encoding/binary"
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The ioctls below are those of linux/btrfs.h, which x/sys doesn't have.
const (
	btrfsMagic            = 0x94
	quotaEnable           = 1 // struct btrfs_ioctl_quota_ctl_args.cmd
	quotaEnableSimple     = 4 // since 6.7: no back references, so next to no cost
	subvolumeQgroup       = 1 << 2
	inheritSetLimits      = 1 << 0
	limitMaxReferenced    = 1 << 0
	subvolumeNameMax      = 4039
	quotaControlNumber    = 40
	subvolumeMakeNumber   = 24
	subvolumeRemoveNumber = 63
	inodeLookupNumber     = 18
	treeSearchNumber      = 17
)

// quotaControl is struct btrfs_ioctl_quota_ctl_args.
type quotaControl struct{ Command, Status uint64 }

// inherit is struct btrfs_qgroup_inherit without groups to inherit from.
type inherit struct {
	Flags, Groups, Referenced, Exclusive uint64
	LimitFlags, MaxReferenced            uint64
	MaxExclusive, Reserved1, Reserved2   uint64
}

// volumeArguments is struct btrfs_ioctl_vol_args_v2.
type volumeArguments struct {
	FD, Transaction, Flags, Size uint64
	Inherit                      *inherit
	Unused                       [2]uint64
	Name                         [subvolumeNameMax + 1]byte
}

// request is an ioctl's direction and number.
type request struct{ direction, number uintptr }

func ioctl(folder *os.File, r request, size uintptr, argument unsafe.Pointer) error {
	code := r.direction<<30 | size<<16 | btrfsMagic<<8 | r.number
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, folder.Fd(), code, uintptr(argument))
	if errno != 0 {
		return errno
	}
	return nil
}

const (
	ioctlWrite     = 1
	ioctlReadWrite = 3
)

// enableQuotas turns accounting on; that it is on already is success.
func (d *btrfs) enableQuotas() error {
	for _, command := range []uint64{quotaEnableSimple, quotaEnable} {
		arguments := quotaControl{Command: command}
		err := ioctl(d.root, request{ioctlReadWrite, quotaControlNumber},
			unsafe.Sizeof(arguments), unsafe.Pointer(&arguments))
		if err == nil || errors.Is(err, unix.EEXIST) {
			return nil
		}
		if !errors.Is(err, unix.EINVAL) {
			return err
		}
	}
	return unix.EINVAL
}

func (d *btrfs) makeSubvolume(name string, limit int64) error {
	arguments, err := named(name)
	if err != nil {
		return err
	}
	if limit > 0 {
		arguments.Flags = subvolumeQgroup
		arguments.Inherit = &inherit{Flags: inheritSetLimits, LimitFlags: limitMaxReferenced, MaxReferenced: uint64(limit)}
		arguments.Size = uint64(unsafe.Sizeof(*arguments.Inherit))
	}
	return ioctl(d.root, request{ioctlWrite, subvolumeMakeNumber}, unsafe.Sizeof(*arguments), unsafe.Pointer(arguments))
}

func (d *btrfs) removeSubvolume(name string) error {
	arguments, err := named(name)
	if err != nil {
		return err
	}
	return ioctl(d.root, request{ioctlWrite, subvolumeRemoveNumber}, unsafe.Sizeof(*arguments), unsafe.Pointer(arguments))
}

func named(name string) (*volumeArguments, error) {
	arguments := &volumeArguments{}
	if len(name) == 0 || len(name) > subvolumeNameMax {
		return nil, unix.ENAMETOOLONG
	}
	copy(arguments.Name[:], name)
	return arguments, nil
}

func openFolderForIoctl(dir int, name string) (*os.File, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// inodeLookup is struct btrfs_ioctl_ino_lookup_args; with tree 0 it tells the
// subvolume that the descriptor is in.
type inodeLookup struct {
	Tree, Object uint64
	Name         [4080]byte
}

// firstObject is the inode number of a subvolume's top folder.
const firstObject = 256

func subvolumeID(folder *os.File) (uint64, error) {
	arguments := &inodeLookup{Object: firstObject}
	err := ioctl(folder, request{ioctlReadWrite, inodeLookupNumber}, unsafe.Sizeof(*arguments), unsafe.Pointer(arguments))
	return arguments.Tree, err
}

// treeSearch is struct btrfs_ioctl_search_args.
type treeSearch struct {
	Tree                           uint64
	MinObject, MaxObject           uint64
	MinOffset, MaxOffset           uint64
	MinTransaction, MaxTransaction uint64
	MinType, MaxType, Items, _     uint32
	_                              [4]uint64
	Result                         [3992]byte
}

const (
	quotaTree        = 8
	qgroupInfoType   = 242
	searchHeaderSize = 32
	referencedOffset = searchHeaderSize + 8 // after the item's generation
)

// referenced reads the info item of the subvolume's group from the quota tree.
func (d *btrfs) referenced(id uint64) (int64, error) {
	search := &treeSearch{
		Tree: quotaTree, MinOffset: id, MaxOffset: id, MaxTransaction: ^uint64(0),
		MinType: qgroupInfoType, MaxType: qgroupInfoType, Items: 1,
	}
	err := ioctl(d.root, request{ioctlReadWrite, treeSearchNumber}, unsafe.Sizeof(*search), unsafe.Pointer(search))
	if err != nil {
		return 0, err
	}
	if search.Items == 0 {
		return 0, os.ErrNotExist
	}
	return int64(binary.LittleEndian.Uint64(search.Result[referencedOffset:])), nil
}
