package main

import (
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/deacon-agent/deacon/messaging"
)

// row is an instance and the node that told of it.
type row struct {
	node  string
	files netip.AddrPort // where the node serves files; invalid: nowhere
	messaging.InstanceRow
}

// printRows prints instances as a table for people.
func printRows(w io.Writer, rows []row, now time.Time) error {
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "APP\tINDEX\tSTATE\tSINCE\tURL\tNODE\tWHY")
	for _, r := range rows {
		cells := []string{
			plain(r.title()), strconv.Itoa(r.Index), string(r.State), since(r.Since, now),
			orDash(r.answersAt()), plain(r.node), orDash(plain(r.why())),
		}
		fmt.Fprintln(table, strings.Join(cells, "\t"))
	}
	return table.Flush()
}

// title is what a person calls the application.
func (r row) title() string {
	if r.Name != "" {
		return r.Name
	}
	return r.Application
}

// url is where the instance answers, empty where it doesn't.
func (r row) url() string {
	serves := r.State == messaging.Running || r.State == messaging.Evacuating
	if r.Port == 0 || !r.Host.IsValid() || !serves {
		return ""
	}
	return "http://" + netip.AddrPortFrom(r.Host, r.Port).String()
}

// answersAt is the url, for people: a worker has a port too, and nothing that
// listens there.
func (r row) answersAt() string {
	if len(r.URIs) == 0 {
		return ""
	}
	return r.url()
}

// why says how a crashed instance ended.
func (r row) why() string {
	if r.State != messaging.Crashed {
		return ""
	}
	return ending(r.Description, r.ExitStatus, "")
}

// ending says how an instance ended, in one phrase.
func ending(description string, status int, signal string) string {
	switch {
	case signal != "":
		return fmt.Sprintf("%s (%s)", description, signal)
	case status >= 0:
		return fmt.Sprintf("%s (status %d)", description, status)
	default: // nothing ran, so nothing has a status
		return description
	}
}

func (r row) live() bool {
	return r.State != messaging.Stopped && r.State != messaging.Crashed
}

// since says how long ago something was, to the precision that a person needs.
func since(at, now time.Time) string {
	age := now.Sub(at)
	switch {
	case at.IsZero():
		return "-"
	case age < 0: // the node's clock is ahead of ours
		return "0s"
	case age < time.Minute:
		return fmt.Sprintf("%ds", age/time.Second)
	case age < time.Hour:
		return fmt.Sprintf("%dm%ds", age/time.Minute, age%time.Minute/time.Second)
	case age < 48*time.Hour:
		return fmt.Sprintf("%dh%dm", age/time.Hour, age%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%dd%dh", age/(24*time.Hour), age%(24*time.Hour)/time.Hour)
	}
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// plain takes out what would break a table or command the terminal: names and
// descriptions come from whoever may publish on NATS.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, text)
}
