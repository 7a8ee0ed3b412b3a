package agent

import (
	"regexp"
	"strings"
)

// How a variable's value reaches the program. The DEA wrote export K="V" with
// only the double quotes escaped, so that the shell evaluated $OTHER, $(...)
// and backticks. Programs rely on that, so it stays; what goes is that a
// backslash before a quote, a lone backtick or an open $( broke the whole
// script, or ran what came after it as commands. The rule:
//
//	$NAME ${NAME}            the variable's value, empty if there is none
//	$(...) `...` ${NAME...}  evaluated by bash
//	\$ \`                    a dollar, a backtick
//	everything else          itself: quotes, newlines, other backslashes, and a
//	                         dollar before anything else ($$, $1, a$)
//
// A value with an expression that is not closed, that bash finds malformed, or
// that has a comment or a here-document in it, stays as it is altogether.

// escaped quotes s fully: nothing in it is evaluated.
func escaped(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// quoted is a value inside double quotes.
type quoted struct {
	text string // with the quotes
	// guarded: it holds an expression, and only bash knows whether that is
	// well-formed.
	guarded bool
}

// quoteValue applies the rule above.
func quoteValue(value string) quoted {
	var q quoted
	var text strings.Builder
	text.WriteByte('"')
	for i := 0; i < len(value); {
		rest := value[i:]
		var out string
		n := 1
		switch c := value[i]; c {
		case '"':
			out = `\"`
		case '\\':
			out = `\\`
			if len(rest) > 1 && (rest[1] == '$' || rest[1] == '`') {
				out, n = rest[:2], 2
			}
		case '$', '`':
			if out, n = dollar(rest); n == 0 {
				return quoted{text: escaped(value)}
			}
			q.guarded = q.guarded || nests(rest) && !plainReference.MatchString(rest)
		default:
			out = rest[:1]
		}
		text.WriteString(out)
		i += n
	}
	text.WriteByte('"')
	q.text = text.String()
	return q
}

// plainReference is $NAME or ${NAME}, which can't fail.
var plainReference = regexp.MustCompile(`^\$([A-Za-z][A-Za-z0-9_]*|_[A-Za-z0-9_]+|\{[A-Za-z_][A-Za-z0-9_]*\})`)

// dollar reads what a dollar or a backtick begins: its text in double quotes,
// and how long it was; 0 if that isn't clear.
func dollar(s string) (text string, n int) {
	reference := plainReference.FindString(s)
	switch {
	case reference != "":
		return reference, len(reference)
	case nests(s):
		n = scanExpression(s)
		return s[:n], n
	case strings.HasPrefix(s, "$$"):
		return `\$\$`, 2
	}
	return `\$`, 1
}

// scanExpression is the length of the $(...), ${...} or `...` that begins s; 0:
// there is none, or it isn't clear where bash would see its end. It must never
// be longer than what bash sees: what follows would stand in the script
// unquoted.
func scanExpression(s string) int {
	switch {
	case s[0] == '`':
		return scanTo(s, 1, "`", "")
	case strings.HasPrefix(s, "$("):
		return scanTo(s, 2, ")", `'"$`+"`")
	case strings.HasPrefix(s, "${"):
		// In double quotes a single quote has no meaning between braces.
		return scanTo(s, 2, "}", `"$`+"`")
	}
	return 0
}

// scanTo finds the end of an expression, past closing. Nested ones, and
// strings, are passed over where one of special begins them.
func scanTo(s string, i int, closing, special string) int {
	command := closing == ")"
	for i < len(s) {
		c := s[i]
		if c == closing[0] {
			return i + 1
		}
		n := 1
		switch {
		case c == '\\':
			n = 2
		case command && unclear(s, i):
			return 0
		case command && c == '(':
			n = scanTo(s[i:], 1, ")", special)
		case c == '\'' && strings.Contains(special, "'"):
			n = strings.IndexByte(s[i+1:], '\'') + 2
			if n == 1 {
				return 0
			}
		case c == '"' && strings.Contains(special, `"`):
			n = scanTo(s[i:], 1, `"`, "$`")
		case (c == '$' || c == '`') && strings.ContainsRune(special, rune(c)):
			if nests(s[i:]) {
				n = scanExpression(s[i:])
			}
			if command && strings.HasPrefix(s[i:], "${") && strings.Contains(s[i:i+n], "'") {
				return 0 // outside of double quotes, a single quote between braces has a meaning
			}
		}
		if n == 0 {
			return 0
		}
		i += n
	}
	return 0
}

// nests says whether s begins as an expression does.
func nests(s string) bool {
	return s[0] == '`' || strings.HasPrefix(s, "$(") || strings.HasPrefix(s, "${")
}

// unclear says whether quotes and brackets after i may mean nothing to bash: a
// comment, a here-document, or $'...' begins there.
func unclear(s string, i int) bool {
	switch {
	case strings.HasPrefix(s[i:], "<<"), strings.HasPrefix(s[i:], "$'"):
		return true
	case s[i] == '#':
		return strings.IndexByte(" \t\n;&|()`", s[i-1]) >= 0
	}
	return false
}
