package dea

import (
	"bytes"
	"encoding/json"
)

// Here JSON that json.Valid has seen is cut into its parts, so that every
// field is looked at once and by its name. encoding/json would parse a message
// again for each level of it, which is half of what decoding a start costs.

// member is one field of an object. A name with escapes in it is unescaped.
type member struct{ name, value []byte }

// members cuts a valid object.
func members(raw []byte) []member {
	var all []member
	for i := space(raw, 1); raw[i] != '}'; {
		end := value(raw, i)
		name := raw[i+1 : end-1]
		if bytes.IndexByte(name, '\\') >= 0 {
			var text string
			if json.Unmarshal(raw[i:end], &text) == nil {
				name = []byte(text)
			}
		}
		i = space(raw, space(raw, end)+1) // past the colon
		end = value(raw, i)
		all = append(all, member{name, raw[i:end]})
		i = next(raw, end)
	}
	return all
}

// elements cuts a valid list.
func elements(raw []byte) [][]byte {
	var all [][]byte
	for i := space(raw, 1); raw[i] != ']'; {
		end := value(raw, i)
		all = append(all, raw[i:end])
		i = next(raw, end)
	}
	return all
}

// next is where the value after the one that ends at i begins, or the bracket
// that closes.
func next(raw []byte, i int) int {
	if i = space(raw, i); raw[i] == ',' {
		i = space(raw, i+1)
	}
	return i
}

// space is where the space at i ends.
func space(raw []byte, i int) int {
	for i < len(raw) && (raw[i] == ' ' || raw[i] == '\t' || raw[i] == '\n' || raw[i] == '\r') {
		i++
	}
	return i
}

// value is where the value at i ends.
func value(raw []byte, i int) int {
	switch raw[i] {
	case '"':
		return quoted(raw, i)
	case '{', '[':
		return bracketed(raw, i)
	}
	for i < len(raw) {
		switch raw[i] {
		case ',', '}', ']', ' ', '\t', '\n', '\r':
			return i
		}
		i++
	}
	return i
}

func quoted(raw []byte, i int) int {
	for i++; raw[i] != '"'; i++ {
		if raw[i] == '\\' {
			i++
		}
	}
	return i + 1
}

func bracketed(raw []byte, i int) int {
	for depth := 0; ; i++ {
		switch raw[i] {
		case '"':
			i = quoted(raw, i) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
}
