package agent

import (
	"regexp"
	"strings"
)

// simpleCommand splits a command into what bash would execute for it. False:
// only bash itself can say. Everything that might mean more to some bash than
// it seems is left to bash, so this knows little: words, quotes, backslashes,
// and variables whose values are known.
func simpleCommand(command string, env environment) (words []string, ok bool) {
	if strings.ContainsFunc(command, unprintable) {
		return nil, false // what it means depends on the locale
	}
	command = strings.TrimRight(strings.TrimLeft(command, " \t\n"), "\n")
	rest, executes := command, false
	for _, prefix := range []string{"exec ", "exec\t"} {
		if after, found := strings.CutPrefix(command, prefix); found {
			rest, executes = after, true
		}
	}
	words, ok = split(rest, env)
	if !ok || len(words) == 0 || !isProgram(words[0], executes) {
		return nil, false
	}
	return words, true
}

func unprintable(r rune) bool { return (r < ' ' && r != '\t' && r != '\n') || r > '~' }

// isProgram says that a command's first word can only name a program, as it
// is: no assignment, no option of exec, no job, nothing that bash does itself.
// exec alone makes a relative path absolute, which a script can see.
func isProgram(word string, executes bool) bool {
	if word == "" || strings.ContainsRune(word, '=') || strings.ContainsRune("-%", rune(word[0])) {
		return false
	}
	if executes {
		return word[0] == '/' || !strings.ContainsRune(word, '/')
	}
	return !shellWords[word]
}

// shellWords are bash's reserved words and builtins, of all its versions.
var shellWords = setOf(`! [ [[ ]] { } . : alias bg bind break builtin caller case cd command compgen complete
	compopt continue coproc declare dirs disown do done echo elif else enable esac eval exec exit export false fc
	fg fi for function getopts hash help history if in jobs kill let local logout mapfile popd printf pushd pwd
	read readarray readonly return select set shift shopt source suspend test then time times trap true type
	typeset ulimit umask unalias unset until wait while`)

func setOf(words string) map[string]bool {
	set := map[string]bool{}
	for word := range strings.FieldsSeq(words) {
		set[word] = true
	}
	return set
}

// splitter is a command that is being split into words.
type splitter struct {
	rest  string
	env   environment
	word  strings.Builder
	begun bool // also an empty word is one, where it was quoted
	words []string
}

// split is the words of a line as bash would make them; false: it isn't clear.
func split(line string, env environment) ([]string, bool) {
	s := &splitter{rest: line, env: env}
	for s.rest != "" {
		if !s.step() {
			return nil, false
		}
	}
	s.end()
	return s.words, true
}

func (s *splitter) step() bool {
	switch c := s.rest[0]; {
	case c == ' ' || c == '\t':
		s.end()
		s.rest = s.rest[1:]
	case c == '\'':
		return s.single()
	case c == '"':
		return s.double()
	case c == '\\':
		return s.backslash()
	case c == '$':
		value, ok := s.reference()
		if !ok || value == "" || strings.ContainsFunc(value, special) {
			return false // it would be split, or matched against files
		}
		s.add(value)
	case special(rune(c)):
		return false
	default:
		s.take(1)
	}
	return true
}

// special says that a character may mean something outside of quotes.
func special(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return false
	}
	return !strings.ContainsRune("_-./:,+@%=", r)
}

func (s *splitter) end() {
	if s.begun {
		s.words = append(s.words, s.word.String())
	}
	s.word.Reset()
	s.begun = false
}

func (s *splitter) add(text string) {
	s.begun = true
	s.word.WriteString(text)
}

// take adds the next n bytes as they are.
func (s *splitter) take(n int) {
	s.add(s.rest[:n])
	s.rest = s.rest[n:]
}

func (s *splitter) single() bool {
	text, rest, closed := strings.Cut(s.rest[1:], "'")
	s.add(text)
	s.rest = rest
	return closed
}

func (s *splitter) double() bool {
	s.add("")
	s.rest = s.rest[1:]
	for s.rest != "" {
		switch c := s.rest[0]; c {
		case '"':
			s.rest = s.rest[1:]
			return true
		case '$':
			value, ok := s.reference()
			if !ok {
				return false
			}
			s.add(value)
		case '`':
			return false
		case '\\':
			if len(s.rest) > 1 && !strings.ContainsRune("$`\"\\\n", rune(s.rest[1])) {
				s.take(1)
			} else if !s.backslash() {
				return false
			}
		default:
			s.take(1)
		}
	}
	return false
}

// backslash takes the character behind one; a line that goes on takes nothing.
func (s *splitter) backslash() bool {
	if len(s.rest) < 2 {
		return false
	}
	s.rest = s.rest[1:]
	if s.rest[0] == '\n' {
		s.rest = s.rest[1:]
	} else {
		s.take(1)
	}
	return true
}

// knownReference is $NAME, ${NAME}, or ${NAME:-other} with a plain other.
var knownReference = regexp.MustCompile(
	`^\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)(:?-[A-Za-z0-9_./:-]*)?\})`)

// reference takes a variable's value. One that is not in the environment may
// still be bash's own, and an empty one may have another instead.
func (s *splitter) reference() (value string, ok bool) {
	m := knownReference.FindStringSubmatch(s.rest)
	if m == nil {
		return "", false
	}
	value, ok = s.env[m[1]+m[2]]
	s.rest = s.rest[len(m[0]):]
	return value, ok && (value != "" || m[3] == "")
}
