package drill

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/hashicorp/hcl/v2/hclparse"

	"github.com/deacon-agent/deacon/agent/chaos"
)

// Scenario is what a drill does.
type Scenario struct {
	Name     string
	Duration time.Duration
	Seed     uint64 // 0: drawn
	// Recovery is how long it may take, when a fault is over, until all is well.
	Recovery time.Duration
	// HeartbeatMax is how long a node may be silent.
	HeartbeatMax time.Duration
	Load         Load
	Applications []Application
	Random       Random
	Fixed        []Fixed
}

// Load is how applications are asked.
type Load struct {
	Path         string
	Every        time.Duration // each instance
	Timeout      time.Duration
	Applications []string // names or ids; none: all that have a port
}

// Application is one that the drill starts, starts again, and stops at the end.
type Application struct {
	Name      string
	Droplet   string // URL
	SHA1      string
	Stack     string
	Command   string
	MemoryMiB int64
	DiskMiB   int64
	Instances int
}

// Random draws faults.
type Random struct {
	Every   time.Duration // on average
	Overlap int           // so many at a time at most
	Faults  []Weighted
}

// Weighted is a fault and how often it is drawn compared with others.
type Weighted struct {
	Order  chaos.Order
	Weight float64
}

// Fixed is a fault at its time.
type Fixed struct {
	At    time.Duration
	Order chaos.Order
}

// Bounds of scenarios.
const (
	durationMax   = 24 * time.Hour
	instancesMax  = 1000
	scenarioBytes = 1 << 20
)

// ScenarioError is everything that is wrong with a scenario file.
type ScenarioError struct {
	File string
	Text string // every fault with its line
}

func (e *ScenarioError) Error() string { return e.File + ":\n\n" + e.Text }

// LoadScenario reads a file.
func LoadScenario(path string) (Scenario, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return Scenario{}, fmt.Errorf("drill: read the scenario: %w", err)
	}
	if len(src) > scenarioBytes {
		return Scenario{}, fmt.Errorf("drill: read the scenario: %s is larger than %d bytes", path, scenarioBytes)
	}
	return ParseScenario(path, src)
}

type scenarioFile struct {
	Duration     *hcl.Attribute      `hcl:"duration,optional"`
	Seed         *hcl.Attribute      `hcl:"seed,optional"`
	Recovery     *hcl.Attribute      `hcl:"recovery,optional"`
	HeartbeatMax *hcl.Attribute      `hcl:"heartbeat_max,optional"`
	Load         *loadBlock          `hcl:"load,block"`
	Applications []*applicationBlock `hcl:"application,block"`
	Random       *randomBlock        `hcl:"random,block"`
	Faults       []*faultBlock       `hcl:"fault,block"`
}

type loadBlock struct {
	Path         *hcl.Attribute `hcl:"path,optional"`
	Every        *hcl.Attribute `hcl:"every,optional"`
	Timeout      *hcl.Attribute `hcl:"timeout,optional"`
	Applications *hcl.Attribute `hcl:"applications,optional"`
}

type applicationBlock struct {
	Name      string         `hcl:"name,label"`
	NameRange hcl.Range      `hcl:"name,label_range"`
	Droplet   *hcl.Attribute `hcl:"droplet,optional"`
	SHA1      *hcl.Attribute `hcl:"sha1,optional"`
	Stack     *hcl.Attribute `hcl:"stack,optional"`
	Command   *hcl.Attribute `hcl:"command,optional"`
	Memory    *hcl.Attribute `hcl:"memory,optional"`
	Disk      *hcl.Attribute `hcl:"disk,optional"`
	Instances *hcl.Attribute `hcl:"instances,optional"`
}

type randomBlock struct {
	Every   *hcl.Attribute `hcl:"every,optional"`
	Overlap *hcl.Attribute `hcl:"overlap,optional"`
	Faults  []*faultBlock  `hcl:"fault,block"`
}

type faultBlock struct {
	Name      string         `hcl:"name,label"`
	NameRange hcl.Range      `hcl:"name,label_range"`
	At        *hcl.Attribute `hcl:"at,optional"`
	Weight    *hcl.Attribute `hcl:"weight,optional"`
	For       *hcl.Attribute `hcl:"for,optional"`
	Rate      *hcl.Attribute `hcl:"rate,optional"`
	Delay     *hcl.Attribute `hcl:"delay,optional"`
	Size      *hcl.Attribute `hcl:"size,optional"`
}

// ParseScenario reads src; name is what errors call it.
func ParseScenario(name string, src []byte) (Scenario, error) {
	parser := hclparse.NewParser()
	file, diags := parser.ParseHCL(src, name)
	if file == nil || diags.HasErrors() {
		return Scenario{}, scenarioError(name, parser.Files(), diags)
	}
	var body scenarioFile
	r := &reader{context: functions()}
	r.diags = gohcl.DecodeBody(file.Body, r.context, &body)
	s := body.read(r)
	s.Name = strings.TrimSuffix(filepath.Base(name), ".hcl")
	if r.diags.HasErrors() {
		return Scenario{}, scenarioError(name, parser.Files(), r.diags)
	}
	if body.Duration == nil {
		return Scenario{}, &ScenarioError{name,
			`It has no "duration". How long is it to take? duration = "5m", for instance.`}
	}
	if len(s.Random.Faults) == 0 && len(s.Fixed) == 0 {
		return Scenario{}, &ScenarioError{name,
			`There is no fault in it. Add fault "init-killed" { at = "10s" }, or a random block.`}
	}
	return s, nil
}

func scenarioError(name string, files map[string]*hcl.File, diags hcl.Diagnostics) error {
	var text strings.Builder
	const columns = 100
	if err := hcl.NewDiagnosticTextWriter(&text, files, columns, false).WriteDiagnostics(diags); err != nil {
		return errors.Join(err, diags)
	}
	return &ScenarioError{name, strings.TrimRight(text.String(), "\n")}
}

func (f *scenarioFile) read(r *reader) Scenario {
	s := Scenario{
		Recovery: 30 * time.Second, HeartbeatMax: 35 * time.Second,
		Load:   Load{Path: "/", Every: 500 * time.Millisecond, Timeout: 5 * time.Second},
		Random: Random{Every: 10 * time.Second, Overlap: 1},
	}
	r.duration(f.Duration, &s.Duration, time.Second, durationMax)
	r.seed(f.Seed, &s.Seed)
	r.duration(f.Recovery, &s.Recovery, time.Second, time.Hour)
	r.duration(f.HeartbeatMax, &s.HeartbeatMax, time.Second, time.Hour)
	if b := f.Load; b != nil {
		r.text(b.Path, &s.Load.Path)
		if !strings.HasPrefix(s.Load.Path, "/") {
			r.fault(b.Path, "Not a path", "\"path\" begins with /, as in \"/health\".")
		}
		r.duration(b.Every, &s.Load.Every, 10*time.Millisecond, time.Minute)
		r.duration(b.Timeout, &s.Load.Timeout, 10*time.Millisecond, time.Minute)
		r.texts(b.Applications, &s.Load.Applications)
	}
	for _, b := range f.Applications {
		s.Applications = append(s.Applications, b.read(r))
	}
	if b := f.Random; b != nil {
		r.duration(b.Every, &s.Random.Every, 100*time.Millisecond, time.Hour)
		overlap := float64(s.Random.Overlap)
		r.number(b.Overlap, &overlap, 1, 16)
		s.Random.Overlap = int(overlap)
		for _, fault := range b.Faults {
			weighted := Weighted{Order: fault.order(r), Weight: 1}
			r.number(fault.Weight, &weighted.Weight, 0.001, math.MaxInt32)
			if fault.At != nil {
				r.fault(fault.At, "A time for what is drawn",
					"What is in \"random\" has a \"weight\"; \"at\" is for faults outside of it.")
			}
			s.Random.Faults = append(s.Random.Faults, weighted)
		}
	}
	for _, fault := range f.Faults {
		fixed := Fixed{Order: fault.order(r)}
		if fault.At == nil {
			r.say(fault.NameRange, "No time",
				"When? at = \"10s\" is ten seconds after the beginning. What has no time belongs into \"random\".")
		}
		r.duration(fault.At, &fixed.At, 0, durationMax)
		if s.Duration > 0 && fixed.At > s.Duration {
			r.fault(fault.At, "After the end", "The scenario takes "+s.Duration.String()+", and this would be later.")
		}
		s.Fixed = append(s.Fixed, fixed)
	}
	return s
}

func (b *applicationBlock) read(r *reader) Application {
	a := Application{Name: b.Name, MemoryMiB: 64, DiskMiB: 128, Instances: 1}
	if b.Droplet == nil {
		r.say(b.NameRange, "No droplet", "An application needs droplet = \"https://…\", where the node fetches it.")
	}
	r.text(b.Droplet, &a.Droplet)
	r.text(b.SHA1, &a.SHA1)
	r.text(b.Stack, &a.Stack)
	r.text(b.Command, &a.Command)
	r.mebibytes(b.Memory, &a.MemoryMiB)
	r.mebibytes(b.Disk, &a.DiskMiB)
	instances := float64(a.Instances)
	r.number(b.Instances, &instances, 1, instancesMax)
	a.Instances = int(instances)
	return a
}

func (b *faultBlock) order(r *reader) chaos.Order {
	if _, known := chaos.Find(b.Name); !known {
		r.say(b.NameRange, "No such fault",
			"\""+b.Name+"\" is no fault; deacon chaos list names them."+nearest(b.Name))
	}
	o := chaos.Order{Fault: b.Name}
	var lasts, delay time.Duration
	r.duration(b.For, &lasts, 0, 10*time.Minute)
	r.duration(b.Delay, &delay, 0, 30*time.Second)
	r.number(b.Rate, &o.Rate, 0, 1)
	var size float64
	r.number(b.Size, &size, 0, 16<<30)
	o.For, o.Delay, o.Size = chaos.Span(lasts), chaos.Span(delay), int64(size)
	return o
}
