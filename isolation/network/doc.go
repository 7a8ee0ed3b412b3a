// Package network gives a container its one link, its way out and its ports.
//
// All rules stand in one table, deacon_<tag>, which Restore writes in one
// transaction. Afterwards a container costs set and map elements only:
//
//	tenants    link . source address   who may send what (anti-spoofing)
//	ports      port → address . port   mapped ports
//	resting    port                    mapped ports that refuse
//	denied     address ranges          refused where nothing opens them
//	allowed    address ranges          reached without a rule
//	resolvers  address                 DNS that everybody may ask, denied or not
//	egress     link → chain            containers with egress rules of their own
//	nearby     link → chain            and those whose rules speak of the pool alone
//	local      link → chain            and those that speak of link-local addresses alone
//	defaults   link → verdict          containers whose default isn't the node's
//
//	prerouting   from ours: IPv6 dropped; what is no tenant's dropped
//	nat          tcp to this node: resting → left to the node, which refuses; else ports
//	input        from ours: established, resolvers; the node where it lets in;
//	             everything else refused
//	forward      from ours: established; invalid dropped; to ours refused but for rules
//	             that mean it; resolvers; link-local refused but for what means it; the
//	             container's own rules; allowed; denied refused; the container's
//	             default; the node's
//	             to ours: established and mapped ports; everything else dropped
//	output       to ours: IPv6 dropped
//	postrouting  from the pool outwards, and from loopback to ours: masqueraded
//
// "Ours" is every link whose name begins with the node's prefix, so a link that
// is in no set can send nothing. Refusing means an answer (a reset, or ICMP
// "administratively prohibited"): an application fails at once.
//
// Containers without rules of their own have no chain. Those with have one, to
// which a map leads by the link's name: ranges of addresses, ports and ICMP
// types in the order they were given, with logging, would need several sets of
// concatenated intervals, each of which the kernel copies at every change. Rules
// that are logged go to a further chain, which has the limit on the lines.
//
// Bandwidth is a token bucket on each end of the link, which the kernel keeps
// and drops with it.
//
// Additions take 0.1 ms; deletions wait for an RCU grace period, so they are
// made in batches, off the request path and on a socket of their own. A link is
// not deleted while its namespace lives: it goes with it.
//
// The table binds what passes it. A table of somebody else's that drops
// forwarded packets still does. Check notices that the table was taken away.
package network
