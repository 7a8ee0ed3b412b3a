package metrics

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
)

const dashboard = "../../packaging/grafana/deacon.json"

// told are the names that a scrape has, with the labels of each.
func told(t *testing.T) map[string][]string {
	t.Helper()
	families, err := full(t, 1).Gather().Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string][]string{}
	for _, f := range families {
		labels := []string{"instance"} // of the scrape
		for _, label := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, label.GetName())
		}
		if f.GetType() == dto.MetricType_HISTOGRAM {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				names[f.GetName()+suffix] = append(labels, "le")
			}
			continue
		}
		names[f.GetName()] = labels
	}
	return names
}

var (
	metricForm   = regexp.MustCompile(`([a-z_]+)\{([^}]*)\}`)
	groupingForm = regexp.MustCompile(`by \(([a-z, ]+)\)`)
	labelForm    = regexp.MustCompile(`([a-z_]+)=~?"`)
	legendForm   = regexp.MustCompile(`\{\{([a-z_]+)\}\}`)
)

// Every query asks for what there is: a metric that was renamed shows as an empty
// panel, months later.
func TestTheDashboardAsksForWhatIsTold(t *testing.T) {
	body, err := os.ReadFile(dashboard)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal(body, &d); err != nil {
		t.Fatal(err)
	}
	names, asked := told(t), map[string]bool{}
	for _, panel := range d.Panels {
		if len(panel.Targets) == 0 {
			t.Errorf("%s asks for nothing", panel.Title)
		}
		for _, target := range panel.Targets {
			found := metricForm.FindAllStringSubmatch(target.Expr, -1)
			if len(found) == 0 || strings.Count(target.Expr, "(") != strings.Count(target.Expr, ")") {
				t.Errorf("%s: %s is no query", panel.Title, target.Expr)
				continue
			}
			var known []string
			for _, metric := range found {
				labels, ok := names[metric[1]]
				if !ok {
					t.Errorf("%s: there is no metric %s", panel.Title, metric[1])
				}
				asked[metric[1]], known = true, append(known, labels...)
			}
			var used []string
			for _, form := range []*regexp.Regexp{labelForm, groupingForm} {
				for _, match := range form.FindAllStringSubmatch(target.Expr, -1) {
					used = append(used, strings.Split(match[1], ", ")...)
				}
			}
			for _, match := range legendForm.FindAllStringSubmatch(target.LegendFormat, -1) {
				used = append(used, match[1])
			}
			for _, label := range used {
				if !slices.Contains(known, label) {
					t.Errorf("%s: %s has no label %s", panel.Title, target.Expr, label)
				}
			}
		}
	}
	if len(asked) < 20 {
		t.Errorf("only %d metrics are asked for; the test looks for the wrong thing", len(asked))
	}
}
