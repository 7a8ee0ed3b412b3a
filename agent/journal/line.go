package journal

import (
	"bytes"
	"fmt"
	"hash/crc32"
)

const (
	// forgotten stands where a value would.
	forgotten = "-"
	// lineRest is about what a line has beside its value.
	lineRest = 48
)

// lines writes changes down.
func lines(changes []Change) ([]byte, error) {
	var text []byte
	for _, c := range changes {
		if err := c.Check(); err != nil {
			return nil, err
		}
		value := c.Value
		if value == nil {
			value = []byte(forgotten)
		}
		sum := crc32.ChecksumIEEE([]byte(c.Name + " "))
		sum = crc32.Update(sum, crc32.IEEETable, value)
		text = append(fmt.Appendf(text, "%08x %s ", sum, c.Name), value...)
		text = append(text, '\n')
	}
	return text, nil
}

// told is what a file says.
type told struct {
	values map[string][]byte
	damage []damage
	whole  int // bytes up to the end of the last line that has one
}

// damage is a line that isn't what was written.
type damage struct {
	line int    // from 1
	name string // whose it seems to be; "": there is no telling
}

func (d damage) whose() string {
	if d.name == "" {
		return ""
	}
	return fmt.Sprintf(" (it seems to be of %s, of which the line before holds)", d.name)
}

// read takes the lines in their order. The values share the content's memory.
func read(content []byte) told {
	t := told{values: map[string][]byte{}}
	for number := 1; ; number++ {
		line, rest, ended := bytes.Cut(content[t.whole:], []byte("\n"))
		if !ended {
			return t
		}
		t.whole = len(content) - len(rest)
		name, value, ok := parseLine(line)
		switch {
		case !ok:
			t.damage = append(t.damage, damage{line: number, name: name})
		case string(value) == forgotten:
			delete(t.values, name)
		default:
			t.values[name] = value
		}
	}
}

// parseLine returns the name also of a line that isn't whole, where there is one.
func parseLine(line []byte) (name string, value []byte, ok bool) {
	sum, body, _ := bytes.Cut(line, []byte(" "))
	who, value, found := bytes.Cut(body, []byte(" "))
	if !nameForm.Match(who) {
		return "", nil, false
	}
	whole := found && string(sum) == fmt.Sprintf("%08x", crc32.ChecksumIEEE(body))
	return string(who), value, whole
}
