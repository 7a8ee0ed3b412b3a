package chaos

import (
	"context"
	"fmt"
	"time"

	"github.com/google/nftables"
)

var tableFlushed = Fault{
	Name: "table-flushed", Harm: Every, Shows: 5 * time.Second,
	Does:      "the node's nftables table is deleted, as `nft flush ruleset` would: no port is mapped any more",
	Heals:     "the node notices and writes its table again",
	Available: always,
	Inject: func(_ context.Context, n *Node, _ Order) (Injection, error) {
		conn, err := nftables.New()
		if err != nil {
			return Injection{}, fmt.Errorf("reach nftables: %w", err)
		}
		tables, err := conn.ListTables()
		if err != nil {
			return Injection{}, fmt.Errorf("list tables: %w", err)
		}
		gone := 0
		for _, table := range tables {
			if table.Name == n.Plan.Table() {
				conn.DelTable(table)
				gone++
			}
		}
		if gone == 0 {
			return Injection{}, unableError("the node's table is not there")
		}
		if err := conn.Flush(); err != nil {
			return Injection{}, fmt.Errorf("delete the table: %w", err)
		}
		return Injection{Note: n.Plan.Table()}, nil
	},
}
