package main

import (
	"errors"
	"strings"
)

var errOpenQuote = errors.New("a quote is opened and not closed")

// splitWords takes a line apart as a shell does: blanks separate words, '…'
// keeps everything, "…" everything but backslashes, and a backslash the next
// character. Nothing is expanded.
func splitWords(line string) ([]string, error) {
	var words []string
	s := splitter{rest: line}
	for s.skipBlanks() {
		word, err := s.word()
		if err != nil {
			return nil, err
		}
		words = append(words, word)
	}
	return words, nil
}

type splitter struct{ rest string }

const blanks = " \t\r\n"

func (s *splitter) skipBlanks() (more bool) {
	s.rest = strings.TrimLeft(s.rest, blanks)
	return s.rest != ""
}

// word takes one word: pieces, quoted or not, up to a blank.
func (s *splitter) word() (string, error) {
	var word strings.Builder
	for s.rest != "" && !strings.ContainsRune(blanks, rune(s.rest[0])) {
		switch first := s.rest[0]; first {
		case '\'', '"':
			s.rest = s.rest[1:]
			text, err := s.quoted(first)
			if err != nil {
				return "", err
			}
			word.WriteString(text)
		case '\\':
			if len(s.rest) == 1 {
				return "", errors.New("a backslash ends the line, with nothing behind it")
			}
			word.WriteByte(s.rest[1])
			s.rest = s.rest[2:]
		default:
			word.WriteByte(first)
			s.rest = s.rest[1:]
		}
	}
	return word.String(), nil
}

// quoted takes what stands before the closing quote, and the quote.
func (s *splitter) quoted(quote byte) (string, error) {
	var text strings.Builder
	for i := 0; i < len(s.rest); i++ {
		switch c := s.rest[i]; {
		case c == quote:
			s.rest = s.rest[i+1:]
			return text.String(), nil
		case c == '\\' && quote == '"' && i+1 < len(s.rest) && strings.IndexByte("\"\\$`", s.rest[i+1]) >= 0:
			i++
			text.WriteByte(s.rest[i])
		default:
			text.WriteByte(c)
		}
	}
	return "", errOpenQuote
}

// quoteWord writes a word so that splitWords gives it back.
func quoteWord(word string) string {
	if word != "" && !strings.ContainsAny(word, blanks+"'\"\\$`") {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
