package stack

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// source is one suite of one of the machine's apt sources.
type source struct {
	at         string // file and line, for people
	uri, suite string
	components []string
	signedBy   []string // files with keys
	key        string   // a key that is written in the source itself
}

// mainComponent is what every mirror of a whole distribution has.
const mainComponent = "main"

// whole says whether a source may be a mirror that a system can be made from.
func (s source) whole() bool {
	u, err := url.Parse(s.uri)
	return err == nil && slices.Contains([]string{"http", "https", "file"}, u.Scheme) &&
		slices.Contains(s.components, mainComponent) && !strings.HasSuffix(s.suite, "/") &&
		!strings.Contains(s.uri, "$(")
}

// readSources reads what apt reads below a folder, /etc/apt, in apt's order.
// What apt would refuse is passed over: it is apt's to complain about.
func readSources(apt string) ([]source, error) {
	files := []string{filepath.Join(apt, "sources.list")}
	more, err := os.ReadDir(filepath.Join(apt, "sources.list.d"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, file := range more {
		files = append(files, filepath.Join(apt, "sources.list.d", file.Name()))
	}
	var all []source
	for _, file := range files {
		read := map[string]func(string, string) []source{".list": readLists, ".sources": readStanzas}[filepath.Ext(file)]
		if read == nil {
			continue
		}
		text, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, read(file, string(text))...)
	}
	return all, nil
}

// oneLine is the older form: deb [option=value …] uri suite component …
var oneLine = regexp.MustCompile(`^\s*deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)((?:\s+\S+)*)\s*$`)

func readLists(file, text string) []source {
	var all []source
	number := 0
	for line := range strings.Lines(text) {
		number++
		line, _, _ = strings.Cut(strings.TrimSuffix(line, "\n"), "#")
		parts := oneLine.FindStringSubmatch(line)
		if parts == nil {
			continue
		}
		s := source{
			at: fmt.Sprintf("%s:%d", file, number), uri: parts[2], suite: parts[3], components: strings.Fields(parts[4]),
		}
		for _, option := range strings.Fields(parts[1]) {
			if name, value, _ := strings.Cut(option, "="); strings.EqualFold(name, "signed-by") {
				s.signedBy = append(s.signedBy, keyFiles(value)...)
			}
		}
		all = append(all, s)
	}
	return all
}

// keyFiles are the files among what signed-by says; there may be fingerprints
// too, of keys that apt keeps elsewhere.
func keyFiles(value string) []string {
	var files []string
	for part := range strings.FieldsFuncSeq(value, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }) {
		if strings.HasPrefix(part, "/") {
			files = append(files, part)
		}
	}
	return files
}

// readStanzas reads the newer form: fields, which may go on in further lines, in
// paragraphs.
func readStanzas(file, text string) []source {
	var all []source
	fields, number, began, last := map[string]string{}, 0, 1, ""
	finish := func() {
		all = append(all, sourcesOf(fmt.Sprintf("%s:%d", file, began), fields)...)
		fields, last = map[string]string{}, ""
	}
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.TrimSpace(line) == "":
			finish()
			began = number + 1
		case line[0] == ' ' || line[0] == '\t':
			fields[last] += "\n" + strings.TrimSpace(line)
		default:
			name, value, _ := strings.Cut(line, ":")
			last = strings.ToLower(strings.TrimSpace(name))
			fields[last] = strings.TrimSpace(value)
		}
	}
	finish()
	return all
}

func sourcesOf(at string, fields map[string]string) []source {
	if !slices.Contains(strings.Fields(fields["types"]), "deb") ||
		slices.Contains([]string{"no", "false", "without", "off", "disable", "0"}, strings.ToLower(fields["enabled"])) {
		return nil
	}
	var all []source
	for _, uri := range strings.Fields(fields["uris"]) {
		for _, suite := range strings.Fields(fields["suites"]) {
			s := source{at: at, uri: uri, suite: suite, components: strings.Fields(fields["components"])}
			if strings.Contains(fields["signed-by"], armorBegin) {
				s.key = fields["signed-by"]
			} else {
				s.signedBy = keyFiles(strings.ReplaceAll(fields["signed-by"], "\n", " "))
			}
			all = append(all, s)
		}
	}
	return all
}

// release is what os-release says of the machine.
type release struct{ codename string }

func readRelease(path string) release {
	text, err := os.ReadFile(path)
	if err != nil {
		return release{}
	}
	for line := range strings.Lines(string(text)) {
		if value, is := strings.CutPrefix(strings.TrimSpace(line), "VERSION_CODENAME="); is {
			return release{strings.Trim(value, `"'`)}
		}
	}
	return release{}
}

// plan is where a system is made from.
type plan struct {
	suite, mirror string
	from          source // whose keys count; zero: those of debootstrap's own choice
	note          string
}

// choose finds suite and mirror: those that were asked for, else the machine's
// own.
func chooseSource(all []source, machine release, suite, mirror string) (plan, error) {
	all = slices.DeleteFunc(slices.Clone(all), func(s source) bool { return !s.whole() })
	of := func(suite string) (source, bool) {
		i := slices.IndexFunc(all, func(s source) bool { return s.suite == suite && suite != "" })
		if i < 0 {
			return source{}, false
		}
		return all[i], true
	}
	own, known := of(machine.codename)
	if !known && len(all) > 0 {
		own, known = all[0], true // such as "stable", on a machine that calls itself otherwise
	}
	if suite == "" {
		if suite = own.suite; !known {
			suite = machine.codename
		}
	}
	if suite == "" {
		return plan{}, errors.New("no apt source of this machine is a mirror of a distribution, and its os-release has " +
			"no codename: say which suite, and where from")
	}
	if mirror != "" {
		given := strings.TrimSuffix(mirror, "/")
		if i := slices.IndexFunc(all, func(s source) bool { return strings.TrimSuffix(s.uri, "/") == given }); i >= 0 {
			return plan{suite: suite, mirror: mirror, from: all[i]}, nil
		}
		return plan{suite: suite, mirror: mirror}, nil
	}
	if exact, found := of(suite); found {
		return plan{suite: suite, mirror: exact.uri, from: exact}, nil
	}
	if !known {
		return plan{}, fmt.Errorf("no apt source of this machine is a mirror of a distribution: say where %s comes from",
			suite)
	}
	return plan{
		suite: suite, mirror: own.uri, from: own,
		note: fmt.Sprintf("no apt source of this machine has the suite %s; the mirror of %s (%s) is asked for it",
			suite, own.suite, own.at),
	}, nil
}
