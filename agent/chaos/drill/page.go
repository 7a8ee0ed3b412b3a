package drill

import (
	"bytes"
	_ "embed" // the page's template
	"fmt"
	"html/template"
	"slices"
	"time"

	"github.com/deacon-agent/deacon/agent/chaos"
)

// The page needs nothing but itself: no script, no style sheet, no picture and
// no font from anywhere.
//
//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"clock":  func(t time.Time) string { return t.Format("15:04:05") },
	"day":    func(t time.Time) string { return t.Format("2 January 2006, 15:04:05 MST") },
	"short":  shortSpan,
	"number": grouped,
	"noun": func(n int, one, many string) string {
		if n == 1 {
			return one
		}
		return many
	},
}).Parse(pageText))

// Page is the report for people.
func (p Report) Page() ([]byte, error) {
	var out bytes.Buffer
	err := pageTemplate.Execute(&out, struct {
		Report
		Picture Picture
		Done    int // faults that were done
		Skipped int
		Sums    []sum
	}{p, p.picture(), p.done(), len(p.Faults) - p.done(), p.sums()})
	if err != nil {
		return nil, fmt.Errorf("drill: make the page: %w", err)
	}
	return out.Bytes(), nil
}

func (p Report) done() (n int) {
	for _, f := range p.Faults {
		if f.Error == "" && f.Skipped == "" {
			n++
		}
	}
	return n
}

// kinds are the faults that the drill has, in the order in which they first came.
func (p Report) kinds() (kinds []string) {
	for _, f := range p.Faults {
		if !slices.Contains(kinds, f.Fault) {
			kinds = append(kinds, f.Fault)
		}
	}
	return kinds
}

// sum is what all faults of one kind came to.
type sum struct {
	Fault                        string
	Done, Not, Noticed, Requests int
	Back                         chaos.Span // the longest
	Harms                        chaos.Harm
}

func (p Report) sums() (sums []sum) {
	for _, kind := range p.kinds() {
		fault, _ := chaos.Find(kind)
		s := sum{Fault: kind, Harms: fault.Harm}
		for _, f := range p.Faults {
			switch {
			case f.Fault != kind:
				continue
			case f.Error != "" || f.Skipped != "":
				s.Not++
				continue
			case f.Requests > 0:
				s.Noticed++
			}
			s.Done++
			s.Requests += f.Requests
			s.Back = max(s.Back, f.Back)
		}
		sums = append(sums, s)
	}
	return sums
}

func shortSpan(s chaos.Span) string {
	switch d := s.Duration(); {
	case d == 0:
		return "–"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	default:
		return d.Round(time.Second).String()
	}
}

// grouped writes 12345 as "12 345".
func grouped(n int) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "\u202f" + text[i:]
	}
	return text
}

// Picture is the timeline in the units of its SVG.
type Picture struct {
	Width, Height     int
	Left, Right       int // of what is drawn over time
	Top, Foot         int // of the requests
	HealthTop         int
	HealthFoot        int
	Columns           []Column
	Health            string // points of a line
	Starts            []int  // x
	Lanes             []Lane
	Ticks             []Tick
	RateMax, Runs     int
	LanesTop, LanesTo int
}

// Column is the requests of a moment, as heights from the foot.
type Column struct {
	X, W                      float64
	Answered, Excused, Failed float64
	ExcusedY, FailedY         float64
	AnsweredY                 float64
	Title                     string
}

// Lane is one kind of fault.
type Lane struct {
	Name string
	Y    int
	Bars []Bar
}

// Bar is one fault.
type Bar struct {
	X, W  float64
	Class string
	Title string
}

// Tick is a mark on the axis.
type Tick struct {
	X    float64
	Text string
}

const (
	pictureWidth  = 1080
	pictureLeft   = 150
	pictureRight  = 1060
	requestsTop   = 26
	requestsFoot  = 186
	healthTop     = 206
	healthFoot    = 246
	lanesTop      = 276
	laneHeight    = 18
	columnsMax    = 450
	ticksMax      = 12
	pictureMargin = 30
)

func (p Report) picture() Picture {
	kinds := p.kinds()
	pic := Picture{
		Width: pictureWidth, Left: pictureLeft, Right: pictureRight, Top: requestsTop, Foot: requestsFoot,
		HealthTop: healthTop, HealthFoot: healthFoot, LanesTop: lanesTop,
		LanesTo: lanesTop + laneHeight*len(kinds), Height: lanesTop + laneHeight*len(kinds) + pictureMargin,
	}
	pic.drawColumns(p)
	pic.drawHealth(p)
	for i, kind := range kinds {
		pic.Lanes = append(pic.Lanes, p.lane(kind, lanesTop+laneHeight*i))
	}
	lasted := time.Duration(len(p.Seconds)) * time.Second
	step := tickStep(lasted)
	for at := time.Duration(0); at < lasted; at += step {
		pic.Ticks = append(pic.Ticks, Tick{p.x(at), clockText(at)})
	}
	return pic
}

func clockText(at time.Duration) string {
	return fmt.Sprintf("%d:%02d", int(at.Minutes()), int(at.Seconds())%60)
}

func tickStep(lasted time.Duration) time.Duration {
	for _, step := range []time.Duration{
		time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute, 10 * time.Minute,
	} {
		if lasted/step <= ticksMax {
			return step
		}
	}
	return max(lasted/ticksMax, time.Hour).Truncate(time.Hour)
}

// x is where a moment is drawn.
func (p Report) x(at time.Duration) float64 {
	lasted := time.Duration(len(p.Seconds)) * time.Second
	return pictureLeft + float64(pictureRight-pictureLeft)*min(at.Seconds()/lasted.Seconds(), 1)
}

// drawColumns puts several seconds into one column where there are many, by
// their means, but for what failed: one request is not to be overlooked.
func (pic *Picture) drawColumns(p Report) {
	each := (len(p.Seconds) + columnsMax - 1) / columnsMax
	var columns []Second
	for from := 0; from < len(p.Seconds); from += each {
		part := p.Seconds[from:min(from+each, len(p.Seconds))]
		var sum Second
		for _, s := range part {
			sum.Answered += s.Answered
			sum.Excused += s.Excused
			sum.Failed += s.Failed
		}
		sum.Answered /= len(part)
		sum.Excused = (sum.Excused + len(part) - 1) / len(part)
		sum.Failed = (sum.Failed + len(part) - 1) / len(part)
		columns = append(columns, sum)
		pic.RateMax = max(pic.RateMax, sum.Answered+sum.Excused+sum.Failed)
	}
	const least = 3 // so that a single one is seen
	tall := func(n int) float64 {
		if n == 0 {
			return 0
		}
		return max(float64(n)/float64(max(pic.RateMax, 1))*(requestsFoot-requestsTop), least)
	}
	for i, s := range columns {
		at := time.Duration(i*each) * time.Second
		c := Column{X: p.x(at), Answered: tall(s.Answered), Excused: tall(s.Excused), Failed: tall(s.Failed)}
		c.W = max(p.x(at+time.Duration(each)*time.Second)-c.X-0.4, 0.6)
		c.AnsweredY = requestsFoot - c.Answered
		c.ExcusedY = c.AnsweredY - c.Excused
		c.FailedY = c.ExcusedY - c.Failed
		c.Title = fmt.Sprintf("%s: %d answered, %d not within a fault's window, %d not outside, each second",
			clockText(at), s.Answered, s.Excused, s.Failed)
		pic.Columns = append(pic.Columns, c)
	}
}

func (pic *Picture) drawHealth(p Report) {
	for _, s := range p.Seconds {
		pic.Runs = max(pic.Runs, s.Running)
	}
	for i, s := range p.Seconds {
		x := p.x(time.Duration(i) * time.Second)
		y := healthFoot - float64(s.Running)/float64(max(pic.Runs, 1))*(healthFoot-healthTop)
		pic.Health += fmt.Sprintf("%.1f,%.1f ", x, y)
		if s.Starts > 0 {
			pic.Starts = append(pic.Starts, int(x))
		}
	}
}

func (p Report) lane(kind string, y int) Lane {
	lane := Lane{Name: kind, Y: y}
	const least = 3.0
	for _, f := range p.Faults {
		if f.Fault != kind {
			continue
		}
		bar := Bar{X: p.x(f.At.Duration()), Class: "f"}
		bar.W = max(p.x(f.At.Duration()+f.For.Duration())-bar.X, least)
		bar.Title = fmt.Sprintf("%s %s %s %s: %s", clockText(f.At.Duration()), f.Fault, f.Target, f.Note, f.Noticed)
		switch {
		case f.Error != "":
			bar.Class, bar.Title = "e", "failed: "+f.Error
		case f.Skipped != "":
			bar.Class, bar.Title = "s", "not done: "+f.Skipped
		case f.Requests > 0:
			bar.Class = "n"
		}
		lane.Bars = append(lane.Bars, bar)
	}
	return lane
}
