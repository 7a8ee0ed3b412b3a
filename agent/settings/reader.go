package settings

import (
	"fmt"
	"math/big"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/agext/levenshtein"
	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// Reader turns attributes into typed values. It collects what is wrong instead
// of stopping at it, and leaves the target as it was then; an attribute that
// isn't given leaves it too.
type Reader struct {
	context *hcl.EvalContext
	top     hcl.Range // where what the file lacks is told
	diags   hcl.Diagnostics
}

// Fault says what is wrong with an attribute's value.
func (r *Reader) Fault(a *hcl.Attribute, summary, detail string, facts ...any) {
	r.FaultAt(a.Expr.Range(), summary, detail, facts...)
}

// FaultAt says what is wrong with a part of the file that is no attribute.
func (r *Reader) FaultAt(subject hcl.Range, summary, detail string, facts ...any) {
	r.diags = append(r.diags, &hcl.Diagnostic{
		Severity: hcl.DiagError, Summary: summary, Detail: fmt.Sprintf(detail, facts...), Subject: &subject,
	})
}

// Lack says what the file doesn't have and must.
func (r *Reader) Lack(summary, detail string) { r.FaultAt(r.top, summary, "%s", detail) }

// Warn says what is odd about an attribute's value.
func (r *Reader) Warn(a *hcl.Attribute, text string, facts ...any) {
	subject := a.Expr.Range()
	r.diags = append(r.diags, &hcl.Diagnostic{
		Severity: hcl.DiagWarning, Summary: fmt.Sprintf(text, facts...), Subject: &subject,
	})
}

// value evaluates an attribute as the type want; false: not given, or faulty.
func (r *Reader) value(a *hcl.Attribute, want cty.Type, wanted string) (cty.Value, bool) {
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
		r.Fault(a, "Wrong type", "%q must be %s, not %s.", a.Name, wanted, kindOf(v))
		return cty.NilVal, false
	}
	return converted, true
}

func kindOf(v cty.Value) string {
	if v.IsNull() {
		return "null"
	}
	return v.Type().FriendlyName()
}

// Word returns a string that its caller makes something of; wanted is what it
// should have been where it is none.
func (r *Reader) Word(a *hcl.Attribute, wanted string) (string, bool) {
	v, ok := r.value(a, cty.String, wanted)
	if !ok {
		return "", false
	}
	return v.AsString(), true
}

// Text reads any string.
func (r *Reader) Text(a *hcl.Attribute, into *string) {
	if v, ok := r.Word(a, "a string"); ok {
		*into = v
	}
}

// Truth reads true or false.
func (r *Reader) Truth(a *hcl.Attribute, into *bool) {
	if v, ok := r.value(a, cty.Bool, "true or false"); ok {
		*into = v.True()
	}
}

// Texts returns a list of strings.
func (r *Reader) Texts(a *hcl.Attribute) ([]string, bool) {
	v, ok := r.value(a, cty.List(cty.String), "a list of strings")
	if !ok {
		return nil, false
	}
	list := make([]string, 0, v.LengthInt())
	for _, element := range v.AsValueSlice() {
		if element.IsNull() {
			r.Fault(a, "Wrong type", "%q must be a list of strings, and one of them is null.", a.Name)
			return nil, false
		}
		list = append(list, element.AsString())
	}
	return list, true
}

// TextByName returns an object of strings.
func (r *Reader) TextByName(a *hcl.Attribute) (map[string]string, bool) {
	v, ok := r.value(a, cty.Map(cty.String), "an object of strings")
	if !ok {
		return nil, false
	}
	texts := map[string]string{}
	for name, value := range v.AsValueMap() {
		if value.IsNull() {
			r.Fault(a, "Wrong type", "%q must be an object of strings, and %s is null.", a.Name, name)
			return nil, false
		}
		texts[name] = value.AsString()
	}
	return texts, true
}

// Whole reads an integer between least and most.
func Whole[T int | int64 | uint16 | uint32 | uint64](r *Reader, a *hcl.Attribute, into *T, least, most T) {
	v, ok := r.value(a, cty.Number, "a whole number")
	if !ok {
		return
	}
	f := v.AsBigFloat()
	// Compared before it is converted: 1e999999999 has many digits.
	if f.Cmp(bigOf(least)) < 0 || f.Cmp(bigOf(most)) > 0 || !f.IsInt() {
		r.Fault(a, "Number out of range", "%q must be a whole number from %d to %d.", a.Name, least, most)
		return
	}
	if f.Sign() < 0 {
		n, _ := f.Int64()
		*into = T(n)
		return
	}
	n, _ := f.Uint64()
	*into = T(n)
}

func bigOf[T int | int64 | uint16 | uint32 | uint64](n T) *big.Float {
	if n < 0 {
		return new(big.Float).SetInt64(int64(n))
	}
	return new(big.Float).SetUint64(uint64(n))
}

// Factor reads a number that needn't be whole.
func (r *Reader) Factor(a *hcl.Attribute, into *float64, least, most float64) {
	v, ok := r.value(a, cty.Number, "a number")
	if !ok {
		return
	}
	f, _ := v.AsBigFloat().Float64()
	if f < least || f > most {
		r.Fault(a, "Number out of range", "%q must be a number from %g to %g.", a.Name, least, most)
		return
	}
	*into = f
}

// Duration reads a number with a unit of time.
func (r *Reader) Duration(a *hcl.Attribute, into *time.Duration, least, most time.Duration) {
	v, ok := r.Word(a, `a duration such as "10s"`)
	if !ok {
		return
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		suggestion := ""
		if _, err := strconv.ParseFloat(v, 64); err == nil {
			suggestion = fmt.Sprintf(" Did you mean %q?", v+"s")
		}
		r.Fault(a, "Not a duration", "%q must be a number with a unit, as in \"250ms\", \"10s\" or \"1h30m\".%s",
			a.Name, suggestion)
		return
	}
	if d < least || d > most {
		r.Fault(a, "Duration out of range", "%q must be from %s to %s.", a.Name, least, most)
		return
	}
	*into = d
}

// Choice reads one of a few words.
func Choice[T ~string](r *Reader, a *hcl.Attribute, into *T, words ...T) {
	v, ok := r.Word(a, "a string")
	if !ok {
		return
	}
	given := T(v)
	if slices.Contains(words, given) {
		*into = given
		return
	}
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = strconv.Quote(string(word))
	}
	last := len(quoted) - 1
	r.Fault(a, "Unknown value", "%q must be %s or %s.%s", a.Name, strings.Join(quoted[:last], ", "), quoted[last],
		Suggest(given, words))
}

// Suggest is HCL's own rule for misspelt names, for values: the nearest of them.
// Who wrote "warning" or "err", or a part of a long name, is understood too.
func Suggest[T ~string](given T, words []T) string {
	const far, partMin = 3, 4
	lower, nearest, distance := strings.ToLower(string(given)), "", far
	for _, word := range words {
		d := levenshtein.Distance(lower, string(word), nil)
		switch {
		case lower != "" && (strings.HasPrefix(lower, string(word)) || strings.HasPrefix(string(word), lower)):
			d = 0
		case len(lower) >= partMin && strings.Contains(string(word), lower):
			d = min(d, far-1)
		}
		if d < distance {
			nearest, distance = string(word), d
		}
	}
	if nearest == "" {
		return ""
	}
	return fmt.Sprintf(" Did you mean %q?", nearest)
}

// Path reads the absolute path of a file or folder: the agent's working
// directory is nothing that a configuration should depend on.
func (r *Reader) Path(a *hcl.Attribute, into *string) {
	v, ok := r.Word(a, "a path")
	if !ok {
		return
	}
	given := v
	if !filepath.IsAbs(given) {
		r.Fault(a, "Not an absolute path", "%q must be a path that begins with /.", a.Name)
		return
	}
	*into = filepath.Clean(given)
}
