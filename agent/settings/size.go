package settings

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// units are what sizes are given in: powers of 1024 only, because that is what
// the kernel counts in and what the wire means by MB.
var units = map[string]int64{"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}

var sizeForm = regexp.MustCompile(`^([0-9]{1,12}) ?([A-Za-z]*)$`)

// Size reads a number of bytes.
func (r *Reader) Size(a *hcl.Attribute, into *int64, least, most int64) {
	v, ok := r.Word(a, `a size such as "512MiB"`)
	if !ok {
		return
	}
	parts := sizeForm.FindStringSubmatch(v)
	if parts == nil {
		r.Fault(a, "Not a size", "%q must be a whole number with a unit, as in \"512MiB\" or \"20GiB\".", a.Name)
		return
	}
	unit, known := units[parts[2]]
	if !known {
		r.Fault(a, "Not a size", "%q must have one of the units B, KiB, MiB, GiB and TiB. Did you mean %q?",
			a.Name, parts[1]+nearestUnit(parts[1], parts[2]))
		return
	}
	n, _ := strconv.ParseInt(parts[1], 10, 64)
	if n > most/unit || n*unit < least {
		r.Fault(a, "Size out of range", "%q must be from %s to %s.", a.Name, sizeText(least), sizeText(most))
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
