package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/deacon-agent/deacon/messaging/warden/client"
)

// completionMax is how long a person who typed TAB waits for the server.
const completionMax = 300 * time.Millisecond

// completer knows what may stand where the cursor is.
type completer struct {
	handles func() []string // asks the server
}

// complete is liner's: the line before the word at the cursor, what the word
// may become, and the line behind the cursor.
func (c completer) complete(line string, cursor int) (head string, words []string, tail string) {
	runes := []rune(line)
	before, tail := string(runes[:cursor]), string(runes[cursor:])
	at := strings.LastIndexAny(before, blanks) + 1
	head, word := before[:at], before[at:]
	typed, err := splitWords(head)
	if err != nil { // within a quote
		return before, nil, tail
	}
	for _, candidate := range c.candidates(typed) {
		if strings.HasPrefix(candidate, word) {
			words = append(words, candidate+" ")
		}
	}
	return head, words, tail
}

// candidates are what can follow the words typed.
func (c completer) candidates(typed []string) []string {
	if len(typed) == 0 || len(typed) == 1 && typed[0] == "help" {
		return commandNames()
	}
	command, ok := findCommand(typed[0])
	last := typed[len(typed)-1]
	switch {
	case !ok && len(typed) == 1: // net, copy, limit
		return c.quotedHandles()
	case !ok:
		return nil
	}
	if field := findField(command.fields(), strings.TrimPrefix(last, "--")); len(typed) > 1 && field != nil {
		switch {
		case field.Name() == "handle" && command.name != "create":
			return c.quotedHandles()
		case field.Kind() == protoreflect.EnumKind:
			return enumNames(field.Enum())
		case field.Kind() != protoreflect.BoolKind:
			return nil // a value that nobody else knows
		}
	}
	return unused(command.fields(), typed)
}

func (c completer) quotedHandles() []string {
	var quoted []string
	for _, handle := range c.handles() {
		quoted = append(quoted, quoteWord(handle))
	}
	return quoted
}

// handlesNow asks for the handles that there are; if that takes long, for none.
func (w *wardenShell) handlesNow() []string {
	ctx, cancel := context.WithTimeout(context.Background(), completionMax)
	defer cancel()
	// By a connection of its own: nothing here should hold up the next command.
	c, err := client.Dial(ctx, w.socket)
	if err != nil {
		return nil
	}
	defer c.Close()
	handles, err := c.List(ctx)
	if err != nil {
		return nil
	}
	return handles
}

func commandNames() []string {
	names := []string{"help"}
	for _, command := range wardenCommands() {
		names = append(names, command.name)
	}
	for _, name := range client.V1Commands() {
		if _, both := findCommand(name); !both {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// findField finds the field that a name such as bind_mounts[0].mode means.
func findField(d protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	step, rest, deeper := strings.Cut(name, ".")
	step, _, _ = strings.Cut(step, "[")
	field := d.Fields().ByName(protoreflect.Name(step))
	if field == nil || !deeper {
		return field
	}
	if field.Message() == nil {
		return nil
	}
	return findField(field.Message(), rest)
}

// unused are the fields that weren't given yet, with -- in front. Those of a
// list are offered for its last element, and when that is begun for the next.
func unused(d protoreflect.MessageDescriptor, typed []string) []string {
	var names []string
	for _, field := range flatten(d) {
		if !field.list {
			if name := "--" + field.name(0); !slices.Contains(typed, name) {
				names = append(names, name)
			}
			continue
		}
		next := 0
		for slices.ContainsFunc(typed, func(word string) bool {
			return strings.HasPrefix(word, fmt.Sprintf("--%s[%d]", field.path[0], next))
		}) {
			next++
		}
		for index := max(0, next-1); index <= next; index++ {
			if name := "--" + field.name(index); !slices.Contains(typed, name) {
				names = append(names, name)
			}
		}
	}
	return append(names, "--help")
}
