package drill

import (
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/deacon-agent/deacon/agent/chaos"
	"github.com/deacon-agent/deacon/agent/settings"
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
	durationMax  = 24 * time.Hour
	instancesMax = 1000
	sizeMax      = 1 << 40 // of an application's memory and disk
)

// LoadScenario reads a file.
func LoadScenario(path string) (Scenario, error) {
	src, err := settings.Load(path)
	if err != nil {
		return Scenario{}, fmt.Errorf("drill: read the scenario: %w", err)
	}
	return ParseScenario(path, src)
}

// ParseScenario reads src; name is what errors call it. What is wrong with it
// comes as one *settings.Error.
func ParseScenario(name string, src []byte) (s Scenario, err error) {
	// What is odd in a scenario is wrong: there are no warnings.
	_, err = settings.Parse(name, src, func(f *scenarioFile, r *settings.Reader) { s = f.read(r) })
	if err != nil {
		return Scenario{}, err
	}
	s.Name = strings.TrimSuffix(filepath.Base(name), ".hcl")
	return s, nil
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

func (f *scenarioFile) read(r *settings.Reader) Scenario {
	s := Scenario{
		Recovery: 30 * time.Second, HeartbeatMax: 35 * time.Second,
		Load:   Load{Path: "/", Every: 500 * time.Millisecond, Timeout: 5 * time.Second},
		Random: Random{Every: 10 * time.Second, Overlap: 1},
	}
	if f.Duration == nil {
		r.Lack("No duration", "How long is it to take? duration = \"5m\", for instance.")
	}
	r.Duration(f.Duration, &s.Duration, time.Second, durationMax)
	settings.Whole(r, f.Seed, &s.Seed, 0, math.MaxUint64)
	r.Duration(f.Recovery, &s.Recovery, time.Second, time.Hour)
	r.Duration(f.HeartbeatMax, &s.HeartbeatMax, time.Second, time.Hour)
	if f.Load != nil {
		f.Load.read(r, &s.Load)
	}
	s.Applications = readApplications(r, f.Applications)
	if f.Random != nil {
		f.Random.read(r, &s.Random)
	}
	for _, fault := range f.Faults {
		s.Fixed = append(s.Fixed, fault.fixed(r, s.Duration))
	}
	if len(s.Random.Faults) == 0 && len(s.Fixed) == 0 {
		r.Lack("No fault", "What is to be done? fault \"init-killed\" { at = \"10s\" }, for instance, or a random block.")
	}
	return s
}

func (b *loadBlock) read(r *settings.Reader, l *Load) {
	r.Text(b.Path, &l.Path)
	if !strings.HasPrefix(l.Path, "/") {
		r.Fault(b.Path, "Not a path", "\"path\" begins with /, as in \"/health\".")
	}
	r.Duration(b.Every, &l.Every, 10*time.Millisecond, time.Minute)
	r.Duration(b.Timeout, &l.Timeout, 10*time.Millisecond, time.Minute)
	l.Applications, _ = r.Texts(b.Applications)
}

// nameForm is what may stand in an application's name: it becomes a part of a
// URI and of the drill's own words for its instances.
var nameForm = regexp.MustCompile(`^[A-Za-z0-9-]{1,40}$`)

func readApplications(r *settings.Reader, blocks []*applicationBlock) (all []Application) {
	first := map[string]hcl.Range{}
	for _, b := range blocks {
		earlier, twice := first[b.Name]
		switch {
		case twice:
			r.FaultAt(b.NameRange, "Application given twice", "%q is already given at %s.", b.Name, earlier)
		case !nameForm.MatchString(b.Name):
			r.FaultAt(b.NameRange, "Not an application's name", "It has 1 to 40 letters, digits and dashes.")
		}
		first[b.Name] = b.NameRange
		all = append(all, b.read(r))
	}
	return all
}

func (b *applicationBlock) read(r *settings.Reader) Application {
	const mib = 1 << 20
	a := Application{Name: b.Name, Instances: 1}
	if b.Droplet == nil {
		r.FaultAt(b.NameRange, "No droplet", "An application needs droplet = \"https://…\", where the node fetches it.")
	}
	r.Text(b.Droplet, &a.Droplet)
	r.Text(b.SHA1, &a.SHA1)
	r.Text(b.Stack, &a.Stack)
	r.Text(b.Command, &a.Command)
	memory, disk := int64(64*mib), int64(128*mib)
	r.Size(b.Memory, &memory, mib, sizeMax)
	r.Size(b.Disk, &disk, mib, sizeMax)
	a.MemoryMiB, a.DiskMiB = memory/mib, disk/mib
	settings.Whole(r, b.Instances, &a.Instances, 1, instancesMax)
	return a
}

func (b *randomBlock) read(r *settings.Reader, random *Random) {
	r.Duration(b.Every, &random.Every, 100*time.Millisecond, time.Hour)
	settings.Whole(r, b.Overlap, &random.Overlap, 1, 16)
	for _, fault := range b.Faults {
		weighted := Weighted{Order: fault.order(r), Weight: 1}
		r.Factor(fault.Weight, &weighted.Weight, 0.001, math.MaxInt32)
		if fault.At != nil {
			r.Fault(fault.At, "A time for what is drawn",
				"What is in \"random\" has a \"weight\"; \"at\" is for faults outside of it.")
		}
		random.Faults = append(random.Faults, weighted)
	}
}

func (b *faultBlock) fixed(r *settings.Reader, duration time.Duration) Fixed {
	fixed := Fixed{Order: b.order(r)}
	if b.At == nil {
		r.FaultAt(b.NameRange, "No time",
			"When? at = \"10s\" is ten seconds after the beginning. What has no time belongs into \"random\".")
	}
	if b.Weight != nil {
		r.Fault(b.Weight, "A weight for what has its time",
			"What is outside of \"random\" is done at its time; \"weight\" is for faults in it.")
	}
	r.Duration(b.At, &fixed.At, 0, durationMax)
	if duration > 0 && fixed.At > duration {
		r.Fault(b.At, "After the end", "The scenario takes %s, and this would be later.", duration)
	}
	return fixed
}

func (b *faultBlock) order(r *settings.Reader) chaos.Order {
	fault, known := chaos.Find(b.Name)
	if known {
		b.checkTaken(r, fault)
	} else {
		r.FaultAt(b.NameRange, "No such fault", "%q is no fault; deacon chaos list names them.%s",
			b.Name, settings.Suggest(b.Name, faultNames()))
	}
	o := chaos.Order{Fault: b.Name}
	var lasts, delay time.Duration
	r.Duration(b.For, &lasts, 0, chaos.ForMax)
	r.Duration(b.Delay, &delay, 0, chaos.DelayMax)
	r.Factor(b.Rate, &o.Rate, 0, 1)
	settings.Whole(r, b.Size, &o.Size, 0, chaos.SizeMax)
	o.For, o.Delay = chaos.Span(lasts), chaos.Span(delay)
	return o
}

// checkTaken finds what is given and would change nothing.
func (b *faultBlock) checkTaken(r *settings.Reader, fault chaos.Fault) {
	for _, a := range []*hcl.Attribute{b.Rate, b.Delay, b.Size} {
		if a != nil && !slices.Contains(fault.Takes, a.Name) {
			r.Fault(a, "A setting that changes nothing", "%s takes no %q.", fault.Name, a.Name)
		}
	}
	if b.For != nil && fault.For == 0 {
		r.Fault(b.For, "A setting that changes nothing", "%s is done in a moment and lasts no time.", fault.Name)
	}
}

func faultNames() (names []string) {
	for _, f := range append(chaos.All(), chaos.AgentStopped) {
		names = append(names, f.Name)
	}
	return names
}
