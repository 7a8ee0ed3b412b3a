package rig

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// What somebody else on the machine might do to what a node made.

// DeleteTable takes the node's table away, as a flush of the ruleset does.
func (t Traces) DeleteTable() error {
	return t.changeRules(func(c *nftables.Conn, own *nftables.Table) error { c.DelTable(own); return nil })
}

// MakeTable makes an empty one.
func (t Traces) MakeTable() error {
	return t.changeRules(func(c *nftables.Conn, own *nftables.Table) error { c.AddTable(own); return nil })
}

// FlushTable takes all rules out of the table.
func (t Traces) FlushTable() error {
	return t.changeRules(func(c *nftables.Conn, own *nftables.Table) error { c.FlushTable(own); return nil })
}

// FlushChain takes all rules out of a chain of the table.
func (t Traces) FlushChain(name string) error {
	return t.changeRules(func(c *nftables.Conn, own *nftables.Table) error {
		c.FlushChain(&nftables.Chain{Name: name, Table: own})
		return nil
	})
}

// AddRule puts a rule that does nothing at the end of a chain of the table.
func (t Traces) AddRule(chain string) error {
	return t.changeRules(func(c *nftables.Conn, own *nftables.Table) error {
		c.AddRule(&nftables.Rule{Table: own, Chain: &nftables.Chain{Name: chain, Table: own}})
		return nil
	})
}

// EmptySet takes all elements out of a set of the table.
func (t Traces) EmptySet(name string) error {
	return t.changeRules(func(c *nftables.Conn, own *nftables.Table) error {
		set, err := c.GetSetByName(own, name)
		if err == nil {
			c.FlushSet(set)
		}
		return err
	})
}

func (t Traces) changeRules(change func(*nftables.Conn, *nftables.Table) error) error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	err = change(conn, &nftables.Table{Name: "deacon_" + t.Tag, Family: nftables.TableFamilyINet})
	return errors.Join(err, conn.Flush())
}

// SetLinkDown, DropAddress and DeleteLink are for the node's end of a container's link.
func SetLinkDown(name string) error { return onLink(name, netlink.LinkSetDown) }

// DeleteLink takes both ends away.
func DeleteLink(name string) error { return onLink(name, netlink.LinkDel) }

// DropAddress takes a link's only address away.
func DropAddress(name string) error {
	return onLink(name, func(link netlink.Link) error {
		addresses, err := netlink.AddrList(link, unix.AF_INET)
		if err == nil && len(addresses) != 1 {
			err = fmt.Errorf("link %s has %d addresses", name, len(addresses))
		}
		if err != nil {
			return err
		}
		return netlink.AddrDel(link, &addresses[0])
	})
}

func onLink(name string, act func(netlink.Link) error) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return act(link)
}
