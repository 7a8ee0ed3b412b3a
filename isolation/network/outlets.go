package network

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
)

// outlet is a chain of a container that has rules of its own, and the map that
// leads to it. A chain is named after the link, so its name is never used twice.
type outlet struct {
	set   *nftables.Set
	name  string
	rules []isolation.EgressRule
}

// outlets are the container's; those that have no rules don't exist. Only a rule
// that speaks of nothing but the pool lets one container reach another, and only
// one that speaks of nothing but link-local addresses opens those: one that
// allows everything doesn't mean them.
func (t *table) outlets(a Attachment) []outlet {
	return slices.DeleteFunc(t.everyOutlet(a), func(o outlet) bool { return len(o.rules) == 0 })
}

// everyOutlet are those too that have no rules, and may have had.
func (t *table) everyOutlet(a Attachment) []outlet {
	link := t.config.Plan.Link(a.Slot)
	beyond := outlet{set: t.egress, name: "out_" + link}
	nearby, local := outlet{set: t.nearby, name: "near_" + link}, outlet{set: t.local, name: "local_" + link}
	for _, rule := range a.Spec.Egress {
		switch {
		case lies(rule, t.config.Plan.Pool):
			nearby.rules = append(nearby.rules, rule)
		case lies(rule, Metadata):
			local.rules = append(local.rules, rule)
		default:
			beyond.rules = append(beyond.rules, rule)
		}
	}
	return []outlet{beyond, nearby, local}
}

// lies says whether all that a rule speaks of is in a network.
func lies(rule isolation.EgressRule, in netip.Prefix) bool {
	return in.Contains(rule.First) && in.Contains(rule.Last)
}

// logging is the container's chain that rules go to which are logged.
func (t *table) logging(a Attachment) string { return "log_" + t.config.Plan.Link(a.Slot) }

func logs(rule isolation.EgressRule) bool { return rule.Log }

func (t *table) chainOf(name string) *nftables.Chain {
	return &nftables.Chain{Table: t.table, Name: name}
}

func (o outlet) element(link string) nftables.SetElement {
	return nftables.SetElement{
		Key: linkKey(link), VerdictData: &expr.Verdict{Kind: expr.VerdictJump, Chain: o.name},
	}
}

// addEgress writes the container's chains. Each is emptied first: it has the
// former rules, or those of an attempt that failed.
func (t *table) addEgress(conn *nftables.Conn, a Attachment) error {
	if slices.ContainsFunc(a.Spec.Egress, logs) {
		t.addLogging(conn, a) // rules can only go to a chain that is there
	}
	for _, o := range t.outlets(a) {
		chain := conn.AddChain(t.chainOf(o.name))
		conn.FlushChain(chain)
		for _, rule := range o.rules {
			for _, one := range egressRules(rule, t.logging(a)) {
				t.rule(conn, chain, one...)
			}
		}
		if err := add(conn, o.set, []nftables.SetElement{o.element(t.config.Plan.Link(a.Slot))}); err != nil {
			return err
		}
	}
	return nil
}

// ownChain is one of a container's chains: how many rules addEgress writes into it,
// and how many rules and elements lead to it.
type ownChain struct {
	name       string
	rules, led int
}

func (t *table) chainsOf(a Attachment) (all []ownChain) {
	logging := ownChain{name: t.logging(a), rules: loggingRules}
	for _, o := range t.outlets(a) {
		c := ownChain{name: o.name, led: 1}
		for _, rule := range o.rules {
			count := max(1, len(rule.Ports))
			c.rules += count
			if rule.Log {
				logging.led += count
			}
		}
		all = append(all, c)
	}
	if logging.led > 0 {
		all = append(all, logging)
	}
	return all
}

// A container chooses how many connections it makes, and the log is the node's:
// these are the lines a second that it gets, and all of them together, and how
// many may come at once after a silence.
const (
	logRate, logBurst         = 10, 100
	nodeLogRate, nodeLogBurst = 50, 500
)

// loggingRules is how many rules addLogging writes.
const loggingRules = 2

// nodeLog is the limit that all containers share.
const nodeLog = "log"

func (t *table) addNodeLog(conn *nftables.Conn) {
	conn.AddObj(&nftables.NamedObj{
		Table: t.table, Name: nodeLog, Type: nftables.ObjTypeLimit, Obj: perSecond(nodeLogRate, nodeLogBurst),
	})
}

func perSecond(rate uint64, burst uint32) *expr.Limit {
	return &expr.Limit{Type: expr.LimitTypePkts, Rate: rate, Unit: expr.LimitTimeSecond, Burst: burst}
}

// addLogging writes the chain that logs, as long as the limits allow, and allows
// in any case. The container's own limit comes first: one that floods takes
// nothing from the others but what it gets itself.
func (t *table) addLogging(conn *nftables.Conn, a Attachment) {
	chain := conn.AddChain(t.chainOf(t.logging(a)))
	conn.FlushChain(chain)
	t.rule(conn, chain, []expr.Any{
		perSecond(logRate, logBurst), &expr.Objref{Type: int(nftables.ObjTypeLimit), Name: nodeLog},
		&expr.Log{Key: 1 << unix.NFTA_LOG_PREFIX, Data: []byte(a.Name + " ")},
	})
	t.rule(conn, chain, is(accept()))
}

// Restrict replaces an attached container's egress rules by those that it has
// now, in one transaction: a packet meets the former ones or these. Rules are few,
// and all of them anew costs hardly more than one; then the kernel has what is on
// record whatever went before. Connections that were allowed when they began go on.
func (n *Network) Restrict(a Attachment) error {
	if err := n.Vet(a); err != nil {
		return err
	}
	n.whole.RLock()
	defer n.whole.RUnlock()
	err := n.deletions.run(n.table.restrict(a))
	if errors.Is(err, unix.ENOENT) {
		err = fmt.Errorf("%w (%w)", ErrTable, err)
	}
	if err != nil {
		return fmt.Errorf("network: egress rules of %s: %w", a.Slot, err)
	}
	return nil
}

// restrict takes away first what leads to chains that have no rules any more.
func (t *table) restrict(a Attachment) func(*nftables.Conn) error {
	return func(conn *nftables.Conn) error {
		var empty []string
		for _, o := range t.everyOutlet(a) {
			if len(o.rules) > 0 {
				continue
			}
			gone, err := remove(conn, o.set, []nftables.SetElement{o.element(t.config.Plan.Link(a.Slot))})
			if err != nil {
				return err
			}
			if gone > 0 {
				empty = append(empty, o.name)
			}
		}
		if err := t.addEgress(conn, a); err != nil {
			return err
		}
		if !slices.ContainsFunc(a.Spec.Egress, logs) {
			empty = append(empty, t.logging(a))
		}
		return t.dropChains(conn, empty)
	}
}

// dropChains deletes chains, where they exist. All are emptied first, as one
// may lead to another.
func (t *table) dropChains(conn *nftables.Conn, names []string) error {
	chains, err := conn.ListChainsOfTableFamily(t.table.Family)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	chains = slices.DeleteFunc(chains, func(c *nftables.Chain) bool {
		return c.Table.Name != t.table.Name || !slices.Contains(names, c.Name)
	})
	for _, chain := range chains {
		conn.FlushChain(chain)
	}
	for _, chain := range chains {
		conn.DelChain(chain)
	}
	return nil
}
