package legacy

import (
	"fmt"
	"math"
	"strings"
	"unicode"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
)

// commentColumns is where comments are wrapped.
const commentColumns = 100

// page is a configuration of ours that is being written.
type page struct{ file *hclwrite.File }

// block is one of its blocks.
type block struct{ body *hclwrite.Body }

func (p *page) block(name string) block {
	p.file.Body().AppendNewline()
	return block{p.file.Body().AppendNewBlock(name, nil).Body()}
}

// set writes a setting below a comment that says where it comes from.
func (b block) set(name string, value cty.Value, origin string) {
	comment(b.body, origin)
	b.body.SetAttributeValue(name, value)
}

func (b block) text(name, value, origin string) { b.set(name, cty.StringVal(value), origin) }

func (b block) texts(name string, values []string, origin string) {
	list := make([]cty.Value, len(values))
	for i, value := range values {
		list[i] = cty.StringVal(value)
	}
	b.set(name, cty.ListVal(list), origin)
}

func (b block) number(name string, value uint64, origin string) {
	b.set(name, cty.NumberUIntVal(value), origin)
}

// comment wraps a text into lines of comment; those of an item of a list are
// set in below it.
func comment(body *hclwrite.Body, text string) {
	begin, line := "#", "#"
	write := func() {
		body.AppendUnstructuredTokens(hclwrite.Tokens{{Type: hclsyntax.TokenComment, Bytes: []byte(line + "\n")}})
	}
	for i, word := range strings.Fields(printable(text)) {
		if len(line)+1+len(word) > commentColumns && line != begin {
			write()
			line = begin
		}
		if line += " " + word; i == 0 && word == "-" {
			begin = "#  "
		}
	}
	write()
}

// printable keeps a file's name from ending the comment that it stands in.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
}

// bytes ends the page with what has no counterpart.
func (p *page) bytes(lost []string) []byte {
	body := p.file.Body()
	if len(lost) > 0 {
		body.AppendNewline()
		comment(body, "What has no counterpart:")
		for _, text := range lost {
			comment(body, "- "+text)
		}
	}
	return hclwrite.Format(p.file.Bytes())
}

// from says where a value comes from.
func from[T any](s setting[T]) string {
	if !s.given() {
		return s.path + " isn't set: Warden's default"
	}
	return fmt.Sprintf("%s, line %d", s.path, s.line)
}

// or is the value, or Warden's default.
func or[T any](s setting[T], otherwise T) T {
	if s.given() {
		return s.value
	}
	return otherwise
}

func sizeText(n uint64) string {
	for _, unit := range []struct {
		name string
		size uint64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= unit.size && n%unit.size == 0 {
			return fmt.Sprint(n/unit.size) + unit.name
		}
	}
	return fmt.Sprint(n) + "B"
}

func rlimitValue(n uint64) cty.Value {
	if n == math.MaxUint64 {
		return cty.StringVal("unlimited")
	}
	return cty.NumberUIntVal(n)
}
