package bus

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/micro"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/dea"
	"github.com/deacon-agent/deacon/testsuite/logbook"
)

// twoNodes answer deacon.v1.ps with their ids.
func twoNodes(t *testing.T, url string) {
	t.Helper()
	for _, id := range []string{"node-a", "node-b"} {
		b := openBus(t, logbook.New(), Config{Servers: []string{url}, NodeID: id, Version: "0.0.1"})
		err := b.Listen(func(cmd messaging.Command) {
			if list, ok := cmd.(messaging.ListInstances); ok {
				b.Publish(messaging.InstancesListed{ReplyTo: list.ReplyTo, NodeID: id})
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		b.conn.Flush()
	}
}

func dial(t *testing.T, url string) *Client {
	t.Helper()
	client, err := Dial(t.Context(), Config{Servers: []string{url}, Name: "client", Log: logbook.New().Logger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func TestAClientHearsTheAnswerOfEveryNode(t *testing.T) {
	s := startServer(t, nil)
	twoNodes(t, s.url)
	answers, err := dial(t, s.url).RequestMany(t.Context(), dea.SubjectPS, []byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	var nodes []string
	for _, body := range answers {
		event, err := dea.DecodeReply(dea.SubjectPS, body)
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, event.(messaging.InstancesListed).NodeID)
	}
	slices.Sort(nodes)
	if !slices.Equal(nodes, []string{"node-a", "node-b"}) {
		t.Errorf("answered by %v", nodes)
	}
}

func TestWhereNobodyListensAQuestionIsOverAtOnce(t *testing.T) {
	s := startServer(t, nil)
	answers, err := dial(t, s.url).RequestMany(t.Context(), dea.SubjectPS, []byte(`{}`))
	if len(answers) != 0 || err != nil {
		t.Errorf("%q, %v", answers, err)
	}
}

func TestANodeRefusesAMalformedQuestionWithAWord(t *testing.T) {
	s := startServer(t, nil)
	twoNodes(t, s.url)
	_, err := dial(t, s.url).RequestMany(t.Context(), dea.SubjectLogsTail, []byte(`{"application":"a","lines":0}`))
	if err == nil || !strings.Contains(err.Error(), "400 dea: invalid deacon.v1.logs-tail: lines: want") {
		t.Errorf("error %v", err)
	}
}

func TestAQuestionEndsWithItsContext(t *testing.T) {
	s := startServer(t, nil)
	b := openBus(t, logbook.New(), Config{Servers: []string{s.url}})
	commands := listen(t, b)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-commands // asked, and never answered
		cancel()
	}()
	_, err := dial(t, s.url).RequestMany(ctx, dea.SubjectPS, nil)
	if err == nil || err.Error() != "bus: ask deacon.v1.ps: context canceled" {
		t.Errorf("error %v", err)
	}
}

// `nats micro ls`, `info` and `stats` ask exactly this.
func TestTheServiceIsFoundAndCounted(t *testing.T) {
	s := startServer(t, nil)
	twoNodes(t, s.url)
	client := dial(t, s.url)
	if _, err := client.RequestMany(t.Context(), dea.SubjectPS, nil); err != nil {
		t.Fatal(err)
	}
	answers, err := client.RequestMany(t.Context(), "$SRV.STATS.deacon", nil)
	if err != nil || len(answers) != 2 {
		t.Fatalf("%d answers, %v", len(answers), err)
	}
	for _, body := range answers {
		var stats micro.Stats
		if err := json.Unmarshal(body, &stats); err != nil {
			t.Fatal(err)
		}
		if stats.Version != "1.0.0" || !strings.HasPrefix(stats.Metadata["node"], "node-") {
			t.Errorf("version %s, metadata %v", stats.Version, stats.Metadata)
		}
		asked := map[string]int{}
		for _, e := range stats.Endpoints {
			asked[e.Subject] = e.NumRequests
		}
		if len(asked) != 5 || asked[dea.SubjectActors] != 0 || asked[dea.SubjectPS] != 1 || asked[dea.SubjectLogsTail] != 0 {
			t.Errorf("requests %v", asked)
		}
	}
}

func TestAClientSpeaksAndListensAsAControllerDoes(t *testing.T) {
	s := startServer(t, nil)
	b := openBus(t, logbook.New(), Config{Servers: []string{s.url}})
	commands := listen(t, b)
	client := dial(t, s.url)
	heard := make(chan string, 8)
	err := client.Subscribe("dea.>", func(subject string, body []byte) { heard <- subject + " " + string(body) })
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Publish(t.Context(), "dea.stop", []byte(`{"droplet":"a"}`)); err != nil {
		t.Fatal(err)
	}
	if got := acting[messaging.StopInstances](t, commands).Filter.Application; got != "a" {
		t.Errorf("stopped %q", got)
	}
	if got := receive(t, heard); got != `dea.stop {"droplet":"a"}` {
		t.Errorf("heard %s", got)
	}
	b.Publish(messaging.Beat{NodeID: nodeID})
	if got := receive(t, heard); !strings.HasPrefix(got, "dea.heartbeat {") {
		t.Errorf("heard %s", got)
	}
}

func TestAClientSaysWhatItCantReach(t *testing.T) {
	s := startServer(t, nil)
	s.stop()
	_, err := Dial(t.Context(), Config{Servers: []string{s.url}, Log: logbook.New().Logger()})
	want := "bus: connect to " + s.url + ": nats: no servers available for connection"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}
