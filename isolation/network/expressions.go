package network

import (
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Conditions and verdicts, one name each, so that rules read as such.

// Registers that expressions pass values in. Register 1 is 16 bytes wide; its
// four-byte parts have numbers of their own.
const (
	reg1     = unix.NFT_REG_1
	reg1Part = unix.NFT_REG32_01 // the second four bytes of reg1
	reg2     = unix.NFT_REG_2
)

// Offsets in the IPv4 header, and of the port in TCP's and UDP's.
const (
	sourceOffset      = 12
	destinationOffset = 16
	portOffset        = 2
)

const dnsPort = 53

func (t *table) chain(conn *nftables.Conn, name string) *nftables.Chain {
	return conn.AddChain(&nftables.Chain{Table: t.table, Name: name})
}

func (t *table) base(conn *nftables.Conn, b base) *nftables.Chain {
	return conn.AddChain(&nftables.Chain{
		Table: t.table, Name: b.name, Hooknum: b.hook, Type: b.kind, Priority: b.priority})
}

// rule adds one rule made of groups of expressions.
func (t *table) rule(conn *nftables.Conn, chain *nftables.Chain, groups ...[]expr.Any) {
	rule := &nftables.Rule{Table: t.table, Chain: chain}
	for _, group := range groups {
		rule.Exprs = append(rule.Exprs, group...)
	}
	conn.AddRule(rule)
}

func (t *table) fromOurs() []expr.Any    { return t.ourLink(expr.MetaKeyIIFNAME, expr.CmpOpEq) }
func (t *table) notFromOurs() []expr.Any { return t.ourLink(expr.MetaKeyIIFNAME, expr.CmpOpNeq) }
func (t *table) toOurs() []expr.Any      { return t.ourLink(expr.MetaKeyOIFNAME, expr.CmpOpEq) }
func (t *table) notToOurs() []expr.Any   { return t.ourLink(expr.MetaKeyOIFNAME, expr.CmpOpNeq) }

// ourLink compares a link's name with the prefix of ours; data shorter than
// the register makes it a prefix match.
func (t *table) ourLink(key expr.MetaKey, op expr.CmpOp) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: key, Register: reg1},
		&expr.Cmp{Op: op, Register: reg1, Data: []byte(t.config.Plan.LinkPrefix())},
	}
}

func link() []expr.Any { return is(&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg1}) }

// linkAndSource loads a key of the set tenants: a link's name fills 16 bytes,
// so the address comes into the next register.
func linkAndSource() []expr.Any { return append(link(), ipv4(sourceOffset, reg2)) }

func ipv6() []expr.Any { return family(unix.NFPROTO_IPV6) }

func family(f byte) []expr.Any { return meta(expr.MetaKeyNFPROTO, f) }

func protocol(p byte) []expr.Any { return meta(expr.MetaKeyL4PROTO, p) }

func meta(key expr.MetaKey, value byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: key, Register: reg1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: []byte{value}},
	}
}

func localDestination() []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: reg1, ResultADDRTYPE: true, FlagDADDR: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
	}
}

// established matches packets of a connection that was allowed when it began.
func established() []expr.Any {
	return ctBits(expr.CtKeySTATE, expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED)
}

func invalid() []expr.Any { return ctBits(expr.CtKeySTATE, expr.CtStateBitINVALID) }

// destinationTranslated is IPS_DST_NAT of the kernel's connection status.
const destinationTranslated = 1 << 5

// mapped matches connections that came through a mapped port.
func mapped() []expr.Any { return ctBits(expr.CtKeySTATUS, destinationTranslated) }

func ctBits(key expr.CtKey, bits uint32) []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: key, Register: reg1},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(bits), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg1, Data: make([]byte, 4)},
	}
}

func ipv4(offset, register uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4}
}

func destinationPort() expr.Any {
	return &expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseTransportHeader, Offset: portOffset, Len: 2}
}

func toDNS() []expr.Any {
	return []expr.Any{destinationPort(), &expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: portKey(dnsPort)}}
}

func from(p netip.Prefix) []expr.Any { return addressIn(sourceOffset, p) }

func to(p netip.Prefix) []expr.Any {
	return append(family(unix.NFPROTO_IPV4), addressIn(destinationOffset, p)...)
}

func addressIn(offset uint32, p netip.Prefix) []expr.Any {
	network := p.Masked().Addr().As4()
	mask := binaryutil.BigEndian.PutUint32(^uint32(0) << (32 - p.Bits()))
	return []expr.Any{
		ipv4(offset, reg1),
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: network[:]},
	}
}

// within and without go on if what was loaded is, or is not, in the set.
func within(set *nftables.Set) []expr.Any { return lookup(set, false) }

func without(set *nftables.Set) []expr.Any { return lookup(set, true) }

func lookup(set *nftables.Set, invert bool) []expr.Any {
	return is(&expr.Lookup{SourceRegister: reg1, SetName: set.Name, SetID: set.ID, Invert: invert})
}

// verdictOf does what the map says of what was loaded, and goes on if nothing.
func verdictOf(set *nftables.Set) []expr.Any {
	return is(&expr.Lookup{SourceRegister: reg1, SetName: set.Name, SetID: set.ID,
		DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true})
}

// translateBy goes to the address and port that the map has for what was
// loaded; they come into the first two parts of the register.
func translateBy(set *nftables.Set) []expr.Any {
	return []expr.Any{
		&expr.Lookup{SourceRegister: reg1, SetName: set.Name, SetID: set.ID,
			DestRegister: reg1, IsDestRegSet: true},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: reg1, RegProtoMin: reg1Part,
			Specified: true},
	}
}

func is(e expr.Any) []expr.Any { return []expr.Any{e} }

func accept() expr.Any           { return &expr.Verdict{Kind: expr.VerdictAccept} }
func drop() expr.Any             { return &expr.Verdict{Kind: expr.VerdictDrop} }
func goTo(chain string) expr.Any { return &expr.Verdict{Kind: expr.VerdictGoto, Chain: chain} }
func masquerade() expr.Any       { return &expr.Masq{} }
func reset() expr.Any            { return &expr.Reject{Type: unix.NFT_REJECT_TCP_RST} }

func prohibited() expr.Any {
	return &expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED}
}
