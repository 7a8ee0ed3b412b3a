package agent

import (
	"fmt"
	"math/big"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/agext/levenshtein"
	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
)

// evalContext is what expressions of the file may use: the function env, so
// that secrets can stay out of it.
func evalContext(lookup func(string) (string, bool)) *hcl.EvalContext {
	env := function.New(&function.Spec{
		Params: []function.Parameter{{Name: "name", Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			value, ok := lookup(args[0].AsString())
			if !ok {
				return cty.NilVal, fmt.Errorf("the environment variable %s is not set", args[0].AsString())
			}
			return cty.StringVal(value), nil
		},
	})
	return &hcl.EvalContext{Functions: map[string]function.Function{"env": env}}
}

// attributeReader turns attributes into typed values. It collects what is
// wrong instead of stopping at it, and leaves the target as it was then; an
// attribute that isn't given leaves it too.
type attributeReader struct {
	context *hcl.EvalContext
	diags   hcl.Diagnostics
}

// fault says what is wrong with an attribute's value.
func (r *attributeReader) fault(a *hcl.Attribute, summary, detail string, facts ...any) {
	r.say(hcl.DiagError, a.Expr.Range(), summary, fmt.Sprintf(detail, facts...))
}

func (r *attributeReader) warn(a *hcl.Attribute, text string, facts ...any) {
	r.say(hcl.DiagWarning, a.Expr.Range(), fmt.Sprintf(text, facts...), "")
}

func (r *attributeReader) say(severity hcl.DiagnosticSeverity, subject hcl.Range, summary, detail string) {
	r.diags = append(r.diags, &hcl.Diagnostic{Severity: severity, Summary: summary, Detail: detail, Subject: &subject})
}

// value evaluates an attribute as the type want; false: not given, or faulty.
func (r *attributeReader) value(a *hcl.Attribute, want cty.Type, wanted string) (cty.Value, bool) {
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
		r.fault(a, "Wrong type", "%q must be %s, not %s.", a.Name, wanted, kindOf(v))
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

func (r *attributeReader) text(a *hcl.Attribute, into *string) {
	if v, ok := r.value(a, cty.String, "a string"); ok {
		*into = v.AsString()
	}
}

func (r *attributeReader) truth(a *hcl.Attribute, into *bool) {
	if v, ok := r.value(a, cty.Bool, "true or false"); ok {
		*into = v.True()
	}
}

// texts reads a list.
func (r *attributeReader) texts(a *hcl.Attribute) ([]string, bool) {
	v, ok := r.value(a, cty.List(cty.String), "a list of strings")
	if !ok {
		return nil, false
	}
	list := make([]string, 0, v.LengthInt())
	for _, element := range v.AsValueSlice() {
		if element.IsNull() {
			r.fault(a, "Wrong type", "%q must be a list of strings, and one of them is null.", a.Name)
			return nil, false
		}
		list = append(list, element.AsString())
	}
	return list, true
}

// whole reads an integer between least and most.
func whole[T int | int64 | uint16 | uint32 | uint64](r *attributeReader, a *hcl.Attribute, into *T, least, most T) {
	v, ok := r.value(a, cty.Number, "a whole number")
	if !ok {
		return
	}
	f := v.AsBigFloat()
	// Compared before it is converted: 1e999999999 has many digits.
	if f.Cmp(bigOf(least)) < 0 || f.Cmp(bigOf(most)) > 0 || !f.IsInt() {
		r.fault(a, "Number out of range", "%q must be a whole number from %d to %d.", a.Name, least, most)
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

func (r *attributeReader) factor(a *hcl.Attribute, into *float64, least, most float64) {
	v, ok := r.value(a, cty.Number, "a number")
	if !ok {
		return
	}
	f, _ := v.AsBigFloat().Float64()
	if f < least || f > most {
		r.fault(a, "Number out of range", "%q must be a number from %g to %g.", a.Name, least, most)
		return
	}
	*into = f
}

func (r *attributeReader) duration(a *hcl.Attribute, into *time.Duration, least, most time.Duration) {
	v, ok := r.value(a, cty.String, `a duration such as "10s"`)
	if !ok {
		return
	}
	d, err := time.ParseDuration(v.AsString())
	if err != nil {
		suggestion := ""
		if _, err := strconv.ParseFloat(v.AsString(), 64); err == nil {
			suggestion = fmt.Sprintf(" Did you mean %q?", v.AsString()+"s")
		}
		r.fault(a, "Not a duration", "%q must be a number with a unit, as in \"250ms\", \"10s\" or \"1h30m\".%s",
			a.Name, suggestion)
		return
	}
	if d < least || d > most {
		r.fault(a, "Duration out of range", "%q must be from %s to %s.", a.Name, least, most)
		return
	}
	*into = d
}

// units are what sizes are given in: powers of 1024 only, because that is what
// the kernel counts in and what the wire means by MB.
var units = map[string]int64{"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}

var sizeForm = regexp.MustCompile(`^([0-9]{1,12}) ?([A-Za-z]*)$`)

// size reads a number of bytes.
func (r *attributeReader) size(a *hcl.Attribute, into *int64, least, most int64) {
	v, ok := r.value(a, cty.String, `a size such as "512MiB"`)
	if !ok {
		return
	}
	parts := sizeForm.FindStringSubmatch(v.AsString())
	if parts == nil {
		r.fault(a, "Not a size", "%q must be a whole number with a unit, as in \"512MiB\" or \"20GiB\".", a.Name)
		return
	}
	unit, known := units[parts[2]]
	if !known {
		r.fault(a, "Not a size", "%q must have one of the units B, KiB, MiB, GiB and TiB. Did you mean %q?",
			a.Name, parts[1]+nearestUnit(parts[1], parts[2]))
		return
	}
	n, _ := strconv.ParseInt(parts[1], 10, 64)
	if n > most/unit || n*unit < least {
		r.fault(a, "Size out of range", "%q must be from %s to %s.", a.Name, sizeText(least), sizeText(most))
		return
	}
	*into = n * unit
}

// nearestUnit is what was probably meant: a number of seven digits and no unit
// is one of bytes.
func nearestUnit(number, given string) string {
	switch {
	case given == "" && len(number) > 6:
		return "B"
	case given == "":
		return "MiB"
	}
	for unit := range units {
		if strings.EqualFold(given[:1], unit[:1]) {
			return unit
		}
	}
	return "MiB"
}

func sizeText(n int64) string {
	for _, unit := range []string{"TiB", "GiB", "MiB", "KiB"} {
		if n >= units[unit] && n%units[unit] == 0 {
			return strconv.FormatInt(n/units[unit], 10) + unit
		}
	}
	return strconv.FormatInt(n, 10) + " bytes"
}

// choice reads one of a few words.
func choice[T ~string](r *attributeReader, a *hcl.Attribute, into *T, words ...T) {
	v, ok := r.value(a, cty.String, "a string")
	if !ok {
		return
	}
	given := T(v.AsString())
	if slices.Contains(words, given) {
		*into = given
		return
	}
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = strconv.Quote(string(word))
	}
	last := len(quoted) - 1
	r.fault(a, "Unknown value", "%q must be %s or %s.%s", a.Name, strings.Join(quoted[:last], ", "), quoted[last],
		suggest(given, words))
}

// suggest is HCL's own rule for misspelt names, for values; and who wrote
// "warning" or "err" is understood too.
func suggest[T ~string](given T, words []T) string {
	lower := strings.ToLower(string(given))
	for _, word := range words {
		begins := lower != "" && (strings.HasPrefix(lower, string(word)) || strings.HasPrefix(string(word), lower))
		if begins || levenshtein.Distance(lower, string(word), nil) < 3 {
			return fmt.Sprintf(" Did you mean %q?", string(word))
		}
	}
	return ""
}

// path reads the absolute path of a file or folder: the agent's working
// directory is nothing that a configuration should depend on.
func (r *attributeReader) path(a *hcl.Attribute, into *string) {
	v, ok := r.value(a, cty.String, "a path")
	if !ok {
		return
	}
	given := v.AsString()
	if !filepath.IsAbs(given) {
		r.fault(a, "Not an absolute path", "%q must be a path that begins with /.", a.Name)
		return
	}
	*into = filepath.Clean(given)
}

func (r *attributeReader) address(a *hcl.Attribute, into *netip.Addr) {
	v, ok := r.value(a, cty.String, "an IPv4 address")
	if !ok {
		return
	}
	if addr, ok := r.addressOf(a, v.AsString()); ok {
		*into = addr
	}
}

func (r *attributeReader) addresses(a *hcl.Attribute, into *[]netip.Addr) {
	list, ok := r.texts(a)
	if !ok {
		return
	}
	*into = nil
	for _, given := range list {
		if addr, ok := r.addressOf(a, given); ok {
			*into = append(*into, addr)
		}
	}
}

func (r *attributeReader) addressOf(a *hcl.Attribute, given string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(given)
	if err != nil || !addr.Is4() {
		r.fault(a, "Not an IPv4 address", "%q: %q is not an IPv4 address such as \"192.0.2.1\".", a.Name, given)
		return netip.Addr{}, false
	}
	return addr, true
}

func (r *attributeReader) prefix(a *hcl.Attribute, into *netip.Prefix) {
	v, ok := r.value(a, cty.String, "an IPv4 network")
	if !ok {
		return
	}
	if prefix, ok := r.prefixOf(a, v.AsString()); ok {
		*into = prefix
	}
}

func (r *attributeReader) prefixes(a *hcl.Attribute, into *[]netip.Prefix) {
	list, ok := r.texts(a)
	if !ok {
		return
	}
	*into = nil
	for _, given := range list {
		if prefix, ok := r.prefixOf(a, given); ok {
			*into = append(*into, prefix)
		}
	}
}

func (r *attributeReader) prefixOf(a *hcl.Attribute, given string) (netip.Prefix, bool) {
	prefix, err := netip.ParsePrefix(given)
	switch addr, addrErr := netip.ParseAddr(given); {
	case err != nil && addrErr == nil && addr.Is4():
		r.fault(a, "Not a network", "%q: %q has no length. Did you mean %q?", a.Name, given, given+"/32")
		return netip.Prefix{}, false
	case err != nil || !prefix.Addr().Is4():
		r.fault(a, "Not a network", "%q: %q is not an IPv4 network such as \"10.254.0.0/16\".", a.Name, given)
		return netip.Prefix{}, false
	case prefix != prefix.Masked():
		r.fault(a, "Not a network", "%q: %q has bits set beyond its length. Did you mean %q?",
			a.Name, given, prefix.Masked().String())
		return netip.Prefix{}, false
	}
	return prefix, true
}
