package dea

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/deacon-agent/deacon/messaging"
)

// componentMessage is how every component of Cloud Foundry announced itself.
type componentMessage struct {
	Type        string    `json:"type"`
	Index       int       `json:"index"`
	UUID        string    `json:"uuid"`
	Host        string    `json:"host"` // "ip:port" of /healthz and /varz
	Credentials [2]string `json:"credentials"`
	Start       string    `json:"start"` // usageTime
}

type discoveredMessage struct {
	componentMessage
	Uptime string `json:"uptime"` // Uptime's
}

// Uptime is how components say how long they have been there: "0d:0h:1m:2s".
func Uptime(d time.Duration) string {
	s := max(0, int64(d/time.Second))
	return fmt.Sprintf("%dd:%dh:%dm:%ds", s/(24*60*60), s/(60*60)%24, s/60%60, s%60)
}

// parseUptime reads what Uptime makes.
func parseUptime(text string) (time.Duration, error) {
	var d, h, m, s int64
	if _, err := fmt.Sscanf(text, "%dd:%dh:%dm:%ds", &d, &h, &m, &s); err != nil {
		return 0, errors.New(`uptime: want days to seconds, as in "0d:0h:1m:2s"`)
	}
	if d < 0 || d > uptimeMax/(24*60*60) || h < 0 || h > 23 || m < 0 || m > 59 || s < 0 || s > 59 {
		return 0, fmt.Errorf("uptime: %.64q is out of range", text)
	}
	return time.Duration(((d*24+h)*60+m)*60+s) * time.Second, nil
}

func component(c messaging.Component) componentMessage {
	return componentMessage{
		Type: c.Type, Index: c.Index, UUID: c.UUID, Host: c.Address.String(),
		Credentials: [2]string{c.User, c.Password}, Start: c.Started.Format(usageTime),
	}
}

// checkComponent refuses what a monitor would look for in vain.
func checkComponent(c messaging.Component) error {
	if !c.Address.IsValid() || c.Address.Port() == 0 {
		return errors.New("no address")
	}
	return cmp.Or(need("type", c.Type), need("uuid", c.UUID), need("credentials", c.User+c.Password))
}

func (m componentMessage) component() (messaging.Component, error) {
	c := messaging.Component{
		Type: m.Type, Index: m.Index, UUID: m.UUID, User: m.Credentials[0], Password: m.Credentials[1],
	}
	var err error
	if c.Address, err = netip.ParseAddrPort(m.Host); err != nil {
		return c, errors.New("host: want an address and a port")
	}
	if c.Started, err = time.Parse(usageTime, m.Start); err != nil {
		return c, fmt.Errorf("start: want a time like %q", usageTime)
	}
	return c, checkComponent(c)
}

func decodeDiscoverComponents(body []byte) (messaging.Command, error) {
	return messaging.DiscoverComponents{}, openOrEmpty(body).in.wrong
}

func decodeListActors(body []byte) (messaging.Command, error) {
	return messaging.ListActors{}, openOrEmpty(body).in.wrong
}

func decodeAnnounced(body []byte) (messaging.Event, error) {
	m, err := read[componentMessage](body)
	if err != nil {
		return nil, err
	}
	c, err := m.component()
	return messaging.ComponentAnnounced{Component: c}, err
}

func decodeComponent(body []byte) (messaging.Event, error) {
	m, err := read[discoveredMessage](body)
	if err != nil {
		return nil, err
	}
	c, err := m.component()
	if err != nil {
		return nil, err
	}
	uptime, err := parseUptime(m.Uptime)
	return messaging.ComponentDiscovered{Component: c, Uptime: uptime}, err
}

// actorsMessage and its rows are deacon's own wire.
type actorsMessage struct {
	NodeID string            `json:"node"`
	Actors []actorRowMessage `json:"actors"`
}

type actorRowMessage struct {
	Path        string `json:"path"`
	Kind        string `json:"kind"`
	Incarnation int    `json:"incarnation"`
	Mailbox     int    `json:"mailbox"`
	Failed      bool   `json:"failed"`
}

func actorsListed(e messaging.ActorsListed) actorsMessage {
	m := actorsMessage{NodeID: e.NodeID, Actors: make([]actorRowMessage, 0, len(e.Actors))}
	for _, row := range e.Actors {
		m.Actors = append(m.Actors, actorRowMessage(row))
	}
	return m
}

func decodeActors(body []byte) (messaging.Event, error) {
	m, err := read[actorsMessage](body)
	e := messaging.ActorsListed{NodeID: m.NodeID}
	for i, row := range m.Actors {
		if err == nil && (row.Path == "" || row.Incarnation < 0 || row.Mailbox < 0) {
			err = fmt.Errorf("actors[%d]: want a path, and counts that are not negative", i)
		}
		e.Actors = append(e.Actors, messaging.ActorRow(row))
	}
	return e, cmp.Or(err, missing("node", m.NodeID))
}
