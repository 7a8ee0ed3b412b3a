package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
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
	quotaLimitNumber      = 43
	subvolumeMakeNumber   = 24
	subvolumeRemoveNumber = 63
	subvolumeInfoNumber   = 60
	fileSystemInfoNumber  = 31
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
	ioctlRead      = 2
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

// subvolumeInfo is struct btrfs_ioctl_get_subvol_info_args.
type subvolumeInfo struct {
	ID                                    uint64
	Name                                  [256]byte
	Parent, Folder, Generation, Flags     uint64
	UUID, ParentUUID, ReceivedUUID        [16]byte
	Changed, Made, Sent, Received         uint64 // transactions
	ChangedAt, MadeAt, SentAt, ReceivedAt timespec
	_                                     [8]uint64
}

type timespec struct {
	Seconds     uint64
	Nanoseconds uint32
	_           uint32
}

// info tells which subvolume a name is, and when it was last changed.
func (d *btrfs) info(name string) (*subvolumeInfo, error) {
	folder, err := openFolderForIoctl(int(d.root.Fd()), name)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	info := &subvolumeInfo{}
	return info, ioctl(folder, request{ioctlRead, subvolumeInfoNumber}, unsafe.Sizeof(*info), unsafe.Pointer(info))
}

// fileSystemInfo is struct btrfs_ioctl_fs_info_args as far as it is of use.
type fileSystemInfo struct {
	Largest, Devices uint64
	UUID             [16]byte
	_                [992]byte
}

func (d *btrfs) uuid() (string, error) {
	info := &fileSystemInfo{}
	err := ioctl(d.root, request{ioctlRead, fileSystemInfoNumber}, unsafe.Sizeof(*info), unsafe.Pointer(info))
	u := info.UUID
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:]), err
}

// quotaLimit is struct btrfs_ioctl_qgroup_limit_args.
type quotaLimit struct {
	Group, Flags, MaxReferenced, MaxExclusive uint64
	_                                         [2]uint64
}

// noLimit takes a limit away.
const noLimit = ^uint64(0)

func (d *btrfs) limitReferenced(subvolume, limit uint64) error {
	arguments := quotaLimit{Group: subvolume, Flags: limitMaxReferenced, MaxReferenced: limit}
	return ioctl(d.root, request{ioctlRead, quotaLimitNumber}, unsafe.Sizeof(arguments), unsafe.Pointer(&arguments))
}

// treeSearch is struct btrfs_ioctl_search_args_v2 with its result behind it.
type treeSearch struct {
	Tree                           uint64
	MinObject, MaxObject           uint64
	MinOffset, MaxOffset           uint64
	MinTransaction, MaxTransaction uint64
	MinType, MaxType, Items, _     uint32
	_                              [4]uint64
	Size                           uint64
	Result                         [searchBytes]byte
}

const (
	searchBytes    = 64 << 10
	searchHeader   = 32 // struct btrfs_ioctl_search_header: transaction, object, offset, type, length
	searchObjectAt = 8
	searchTypeAt   = 24
	searchLengthAt = 28
	inodeType      = 1
	firstObject    = 256          // a subvolume's top folder
	lastObject     = ^uint64(255) // -256: what is above is not an inode
	searchTypeMax  = 255
	searchItemsMax = 1 << 16
)

// countInodes counts a subvolume's inodes in its own tree, in the order of
// their numbers. A search that ends in the middle of what belongs to one inode
// goes on with the next one, so a file of a million pieces costs one search.
func (d *btrfs) countInodes(subvolume uint64) (inodes int64, err error) {
	search := &treeSearch{}
	for next := uint64(firstObject); inodes < countMax; next++ {
		search.Tree, search.Items, search.Size = subvolume, searchItemsMax, searchBytes
		search.MinObject, search.MaxObject = next, lastObject
		search.MaxOffset, search.MaxTransaction, search.MaxType = ^uint64(0), ^uint64(0), searchTypeMax
		const size = unsafe.Offsetof(search.Result)
		err := ioctl(d.root, request{ioctlReadWrite, treeSearchNumber}, size, unsafe.Pointer(search))
		if err != nil || search.Items == 0 {
			return inodes, err
		}
		rest := search.Result[:]
		for range search.Items {
			next = binary.NativeEndian.Uint64(rest[searchObjectAt:])
			if binary.NativeEndian.Uint32(rest[searchTypeAt:]) == inodeType {
				inodes++
			}
			rest = rest[searchHeader+binary.NativeEndian.Uint32(rest[searchLengthAt:]):]
		}
	}
	return inodes, nil
}
