package drill

import (
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"github.com/agext/levenshtein"
	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"

	"github.com/deacon-agent/deacon/agent/chaos"
)

// functions are what a scenario may use: env, so that one file serves many
// fleets, and secrets stay out of it.
func functions() *hcl.EvalContext {
	env := function.New(&function.Spec{
		Params: []function.Parameter{{Name: "name", Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			value, ok := os.LookupEnv(args[0].AsString())
			if !ok {
				return cty.NilVal, fmt.Errorf("the environment variable %s is not set", args[0].AsString())
			}
			return cty.StringVal(value), nil
		},
	})
	return &hcl.EvalContext{Functions: map[string]function.Function{"env": env}}
}

// reader turns attributes into values and collects what is wrong. What isn't
// given stays as it is.
type reader struct {
	context *hcl.EvalContext
	diags   hcl.Diagnostics
}

func (r *reader) say(at hcl.Range, summary, detail string) {
	r.diags = append(r.diags, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: detail, Subject: &at})
}

func (r *reader) fault(a *hcl.Attribute, summary, detail string) {
	r.say(a.Expr.Range(), summary, detail)
}

func (r *reader) value(a *hcl.Attribute, want cty.Type, wanted string) (cty.Value, bool) {
	if a == nil {
		return cty.NilVal, false
	}
	v, diags := a.Expr.Value(r.context)
	r.diags = append(r.diags, diags...)
	if diags.HasErrors() {
		return cty.NilVal, false
	}
	converted, err := convert.Convert(v, want)
	if err != nil || converted.IsNull() || !converted.IsWhollyKnown() {
		r.fault(a, "Wrong type", fmt.Sprintf("%q must be %s.", a.Name, wanted))
		return cty.NilVal, false
	}
	return converted, true
}

func (r *reader) text(a *hcl.Attribute, into *string) {
	if v, ok := r.value(a, cty.String, "a string"); ok {
		*into = v.AsString()
	}
}

func (r *reader) texts(a *hcl.Attribute, into *[]string) {
	v, ok := r.value(a, cty.List(cty.String), "a list of strings")
	if !ok {
		return
	}
	for _, element := range v.AsValueSlice() {
		if element.IsNull() {
			r.fault(a, "Wrong type", fmt.Sprintf("%q has a null in it.", a.Name))
			return
		}
		*into = append(*into, element.AsString())
	}
}

func (r *reader) duration(a *hcl.Attribute, into *time.Duration, least, most time.Duration) {
	v, ok := r.value(a, cty.String, `a duration such as "10s"`)
	if !ok {
		return
	}
	d, err := time.ParseDuration(v.AsString())
	switch {
	case err != nil:
		r.fault(a, "Not a duration",
			fmt.Sprintf("%q must be a number with a unit, as in \"250ms\", \"10s\" or \"1h30m\".", a.Name))
	case d < least || d > most:
		r.fault(a, "Duration out of range", fmt.Sprintf("%q must be from %s to %s.", a.Name, least, most))
	default:
		*into = d
	}
}

func (r *reader) number(a *hcl.Attribute, into *float64, least, most float64) {
	v, ok := r.value(a, cty.Number, "a number")
	if !ok {
		return
	}
	f, _ := v.AsBigFloat().Float64()
	if f < least || f > most {
		r.fault(a, "Number out of range", fmt.Sprintf("%q must be from %g to %g.", a.Name, least, most))
		return
	}
	*into = f
}

func (r *reader) seed(a *hcl.Attribute, into *uint64) {
	v, ok := r.value(a, cty.Number, "a whole number")
	if !ok {
		return
	}
	n, accuracy := v.AsBigFloat().Uint64()
	if accuracy != 0 || !v.AsBigFloat().IsInt() || v.AsBigFloat().Sign() < 0 {
		r.fault(a, "Not a seed", fmt.Sprintf("%q must be a whole number from 0 to %d.", a.Name, uint64(math.MaxUint64)))
		return
	}
	*into = n
}

func (r *reader) mebibytes(a *hcl.Attribute, into *int64) {
	v, ok := r.value(a, cty.String, `a size such as "64MiB"`)
	if !ok {
		return
	}
	for unit, mib := range map[string]int64{"MiB": 1, "GiB": 1 << 10} {
		var n int64
		if _, err := fmt.Sscanf(v.AsString(), "%d"+unit, &n); err == nil && n > 0 && n <= 1<<20 &&
			v.AsString() == fmt.Sprintf("%d%s", n, unit) {
			*into = n * mib
			return
		}
	}
	r.fault(a, "Not a size", fmt.Sprintf("%q must be a whole number with a unit, as in \"64MiB\" or \"1GiB\".", a.Name))
}

// nearest suggests a fault whose name is nearly the given one.
func nearest(given string) string {
	const near = 4
	best, distance := "", near
	for _, f := range append(chaos.All(), chaos.AgentStopped) {
		d := levenshtein.Distance(given, f.Name, nil)
		if strings.Contains(f.Name, given) && given != "" {
			d = 1
		}
		if d < distance {
			best, distance = f.Name, d
		}
	}
	if best == "" {
		return ""
	}
	return " Did you mean \"" + best + "\"?"
}
