package main

import (
	"encoding/binary"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation/initproto"
)

// loopback is lo's index in every network namespace.
const loopback = 1

// linkUp brings lo up, and where there is a link gives it its address and the
// way out, all in one batch: a netlink library would cost more memory than all
// the rest of this program.
func (c *container) linkUp() error {
	var b batch
	b.up(loopback)
	if link := c.setup.Link; link != nil {
		index, err := linkIndex(link.Name)
		if err != nil {
			return err
		}
		// Before the link is up, so that it never gets a link-local address:
		// by that the node's IPv6 listeners could be reached past every rule.
		b.noIPv6(index)
		b.address(index, *link)
		b.up(index)
		b.route(link.Gateway)
	}
	return b.send()
}

func linkIndex(name string) (uint32, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, request); err != nil {
		return 0, err
	}
	return request.Uint32(), nil
}

// batch is a row of rtnetlink requests, each acknowledged.
type batch struct {
	b        []byte
	sequence uint32
	ipv6     uint32 // the request that a kernel without IPv6 refuses
}

func (b *batch) request(kind uint16, flags uint16, body []byte) {
	b.sequence++
	b.b = binary.NativeEndian.AppendUint32(b.b, uint32(unix.SizeofNlMsghdr+len(body)))
	b.b = binary.NativeEndian.AppendUint16(b.b, kind)
	b.b = binary.NativeEndian.AppendUint16(b.b, flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	b.b = binary.NativeEndian.AppendUint32(b.b, b.sequence)
	b.b = binary.NativeEndian.AppendUint32(b.b, 0)
	b.b = append(b.b, body...)
}

func (b *batch) up(index uint32) {
	body := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(body[4:], index)
	binary.NativeEndian.PutUint32(body[8:], unix.IFF_UP)
	binary.NativeEndian.PutUint32(body[12:], unix.IFF_UP)
	b.request(unix.RTM_NEWLINK, 0, body)
}

// noAddress is IN6_ADDR_GEN_MODE_NONE of linux/if_link.h.
const noAddress = 1

// noIPv6 keeps the link from making itself an address. Writing disable_ipv6
// would come to the same, but waits for the kernel's one lock of all links by
// spinning: in a burst of starts that was 9 % of all CPU.
func (b *batch) noIPv6(index uint32) {
	body := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(body[4:], index)
	mode := attribute(nil, unix.IFLA_INET6_ADDR_GEN_MODE, []byte{noAddress})
	body = attribute(body, unix.IFLA_AF_SPEC, attribute(nil, unix.AF_INET6, mode))
	b.request(unix.RTM_SETLINK, 0, body)
	b.ipv6 = b.sequence
}

func (b *batch) address(index uint32, link initproto.Link) {
	body := make([]byte, unix.SizeofIfAddrmsg)
	body[0], body[1] = unix.AF_INET, link.Prefix
	binary.NativeEndian.PutUint32(body[4:], index)
	body = attribute(body, unix.IFA_LOCAL, link.Address[:])
	body = attribute(body, unix.IFA_ADDRESS, link.Address[:])
	b.request(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, body)
}

func (b *batch) route(gateway [4]byte) {
	body := make([]byte, unix.SizeofRtMsg)
	body[0], body[4], body[5], body[7] = unix.AF_INET, unix.RT_TABLE_MAIN, unix.RTPROT_BOOT, unix.RTN_UNICAST
	body = attribute(body, unix.RTA_GATEWAY, gateway[:])
	b.request(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, body)
}

// attribute appends a value, padded to four bytes.
func attribute(body []byte, kind uint16, value []byte) []byte {
	body = binary.NativeEndian.AppendUint16(body, uint16(unix.SizeofRtAttr+len(value)))
	body = binary.NativeEndian.AppendUint16(body, kind)
	body = append(body, value...)
	return append(body, make([]byte, -len(value)&3)...)
}

// send sends the batch and waits for as many acknowledgements; the first
// refusal is the answer.
func (b *batch) send() error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Sendto(fd, b.b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buffer := make([]byte, 4096)
	for seen := uint32(0); seen < b.sequence; {
		n, _, err := unix.Recvfrom(fd, buffer, 0)
		if err != nil {
			return err
		}
		answers, err := syscall.ParseNetlinkMessage(buffer[:n])
		if err != nil {
			return err
		}
		for _, a := range answers {
			if a.Header.Type != unix.NLMSG_ERROR {
				continue
			}
			seen++
			code := unix.Errno(-int32(binary.NativeEndian.Uint32(a.Data)))
			if code != 0 && !(code == unix.EAFNOSUPPORT && a.Header.Seq == b.ipv6) {
				return &os.SyscallError{Syscall: "rtnetlink request " + strconv.Itoa(int(a.Header.Seq)), Err: code}
			}
		}
	}
	return nil
}
