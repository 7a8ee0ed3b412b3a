package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// answerMax is how long one HTTP request of the demo may take.
const answerMax = 10 * time.Second

// demo is one showing.
type demo struct {
	bin  string
	once bool

	node *node
	urls []string
}

func (d *demo) run(ctx context.Context) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("a node needs root (namespaces, cgroups, mounts): sudo make demo")
	}
	defer func() { err = errors.Join(err, d.end()) }()
	for i, step := range []struct {
		title string
		act   func(context.Context) error
	}{
		{"A node with NATS inside", d.startNode},
		{"The Python example, from its droplet", d.runs("python", "Hello from Python")},
		{"The Go example, two instances of it", d.runs("go", "Hello from Go", "--instances", "2")},
		{"What runs", d.shows("ps")},
		{"What the node tells health managers", d.heartbeat},
		{"What the Python application wrote", d.logs},
	} {
		fmt.Printf("\n── %d. %s\n", i+1, step.title)
		if err := step.act(ctx); err != nil {
			if ctx.Err() != nil {
				return errors.New("interrupted before all was shown")
			}
			return fmt.Errorf("step %d, %s: %w", i+1, strings.ToLower(step.title), err)
		}
	}
	if !d.once {
		d.wait(ctx)
	}
	return nil
}

// startNode runs deacon dev and learns from it where NATS is.
func (d *demo) startNode(ctx context.Context) error {
	var err error
	if d.node, err = startNode(d.program()); err != nil {
		return err
	}
	if err := d.node.awaitReady(ctx); err != nil {
		return err
	}
	fmt.Printf("node %s is ready, NATS listens on %s\n", d.node.Node, d.node.NATS)
	return nil
}

// runs makes a step that runs an example and asks each of its instances.
func (d *demo) runs(name, greeting string, flags ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		droplet := filepath.Join(d.bin, "droplets", name+".tgz")
		if _, err := d.deacon(ctx, append([]string{"run", droplet, "-d"}, flags...)...); err != nil {
			return err
		}
		rows, err := d.instances(ctx, name)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return fmt.Errorf("no instance of %s is listed", name)
		}
		for _, row := range rows {
			if err := d.ask(ctx, row.URL, greeting); err != nil {
				return err
			}
			d.urls = append(d.urls, row.URL)
		}
		return nil
	}
}

// instance is what the demo reads of `deacon ps --json`.
type instance struct {
	State string `json:"state"`
	URL   string `json:"url"`
}

func (d *demo) instances(ctx context.Context, app string) ([]instance, error) {
	out, err := d.quietly(ctx, "ps", app, "--json")
	if err != nil {
		return nil, err
	}
	var list struct {
		Instances []instance `json:"instances"`
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return nil, fmt.Errorf("deacon ps --json: %w", err)
	}
	return list.Instances, nil
}

// ask makes a request to a mapped port and checks the answer.
func (d *demo) ask(ctx context.Context, url, greeting string) error {
	fmt.Println("$ curl", url)
	body, err := get(ctx, url)
	if err != nil {
		return err
	}
	fmt.Print(body)
	if !strings.Contains(body, greeting) {
		return fmt.Errorf("%s answered %q, not %q", url, body, greeting)
	}
	return nil
}

func get(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerMax)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	request.Close = true // a kept connection would outlive the application
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answered %s", url, response.Status)
	}
	return string(body), err
}

func (d *demo) shows(arguments ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := d.deacon(ctx, arguments...)
		return err
	}
}

// heartbeat shows one and checks that it has every instance.
func (d *demo) heartbeat(ctx context.Context) error {
	fmt.Println("$ deacon events dea.heartbeat --count 1")
	out, err := d.quietly(ctx, "events", "dea.heartbeat", "--count", "1", "--timeout", "30s", "--json")
	if err != nil {
		return err
	}
	var beat struct {
		Body struct {
			Droplets []struct {
				State string `json:"state"`
			} `json:"droplets"`
		} `json:"body"`
	}
	if err := json.Unmarshal([]byte(out), &beat); err != nil {
		return fmt.Errorf("the heartbeat: %w", err)
	}
	fmt.Print(out)
	running := 0
	for _, droplet := range beat.Body.Droplets {
		if droplet.State == "RUNNING" {
			running++
		}
	}
	if running != len(d.urls) {
		return fmt.Errorf("the heartbeat has %d running instances, not %d", running, len(d.urls))
	}
	return nil
}

func (d *demo) logs(ctx context.Context) error {
	out, err := d.deacon(ctx, "logs", "python")
	if err != nil {
		return err
	}
	for _, wanted := range []string{"listening on", "GET / "} {
		if !strings.Contains(out, wanted) {
			return fmt.Errorf("the log has no line with %q", wanted)
		}
	}
	return nil
}

func (d *demo) wait(ctx context.Context) {
	fmt.Printf("\nAll of it works. In another terminal, try:\n")
	if d.node.NATS != "nats://127.0.0.1:4222" {
		fmt.Printf("    export DEACON_NATS=%s\n", d.node.NATS)
	}
	for _, line := range []string{"ps", "run examples/node", "logs go -f", "stop python"} {
		fmt.Printf("    %s %s\n", d.program(), line)
	}
	fmt.Println("Ctrl-C stops everything and leaves nothing behind.")
	select {
	case <-ctx.Done():
	case <-d.node.ended:
		fmt.Println("the node has ended by itself")
	}
}

// end stops the node as Ctrl-C would, and proves that nothing of it is left.
func (d *demo) end() error {
	if d.node == nil {
		return nil
	}
	fmt.Printf("\n── The end: Ctrl-C for the node\n")
	if err := d.node.stop(); err != nil {
		return err
	}
	var left []string
	for _, url := range d.urls {
		if _, err := get(context.Background(), url); err == nil {
			left = append(left, "something that answers at "+url)
		}
	}
	left = append(left, d.leftovers()...)
	if len(left) > 0 {
		return fmt.Errorf("left behind:\n  %s", strings.Join(left, "\n  "))
	}
	fmt.Println("nothing is left behind: no process, container, link, rule, mount nor folder")
	return nil
}
