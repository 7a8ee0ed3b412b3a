package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/deacon-agent/deacon/messaging/warden/client"
)

// leafField is a field that takes a value, with the way that leads to it.
type leafField struct {
	protoreflect.FieldDescriptor
	path     []string
	list     bool // the way's first step is a list
	required bool // each step is
}

// flatten has the fields that take values, nested ones in their place.
func flatten(d protoreflect.MessageDescriptor) []leafField {
	var leaves []leafField
	for field := range inOrder(d) {
		required := field.Cardinality() == protoreflect.Required
		if field.Message() == nil {
			leaves = append(leaves, leafField{field, []string{string(field.Name())}, field.IsList(), required})
			continue
		}
		for _, leaf := range flatten(field.Message()) {
			leaf.path = append([]string{string(field.Name())}, leaf.path...)
			leaf.list = field.IsList()
			leaf.required = leaf.required && (required || field.IsList())
			leaves = append(leaves, leaf)
		}
	}
	return leaves
}

// name is what is written for it, such as bind_mounts[0].mode.
func (f leafField) name(index int) string {
	path := slices.Clone(f.path)
	if f.list {
		path[0] = fmt.Sprintf("%s[%d]", path[0], index)
	}
	return strings.Join(path, ".")
}

// value is what stands for its value in help.
func (f leafField) value() string {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return ""
	case protoreflect.EnumKind:
		return strings.Join(enumNames(f.Enum()), "|")
	case protoreflect.StringKind, protoreflect.BytesKind:
		return "TEXT"
	default:
		return "NUMBER"
	}
}

// help explains a command, or lists all.
func (w *wardenShell) help(words []string) error {
	text := commandList()
	if w.v1 {
		text = textList()
	}
	switch {
	case len(words) > 1:
		return fail(exitUsage, "see "+w.way("help"), "help takes one command")
	case len(words) == 1 && !endsSession(words[0]) && !strings.EqualFold(words[0], "help"):
		command, known := findCommand(words[0])
		form, isText := textForms[strings.ToLower(words[0])]
		switch {
		case isText && (w.v1 || !known):
			text = form.help()
		case known && !w.v1:
			text = command.help()
		default:
			return w.noCommand(words[0])
		}
	}
	_, err := fmt.Fprint(w.out, text)
	return err
}

func commandList() string {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, command := range wardenCommands() {
		fmt.Fprintf(table, "%s\t%s\n", command.name, firstSentence(wardenSentences[command.name]))
	}
	fmt.Fprintf(table, "help\tList the commands, or explain one.\n")
	fmt.Fprintf(table, "exit\tEnd, as Ctrl-D does.\n")
	table.Flush()
	fmt.Fprintf(&text, "\n%s\n", fold("Each explains itself with --help. Arguments are --field value; "+
		"of what is true or false --field alone. The text commands of Warden's first version work too: "+
		strings.Join(client.V1Commands(), ", ")+". Help explains them as well: help net."))
	return text.String()
}

// textList lists the text commands, for who asked for no others.
func textList() string {
	var text strings.Builder
	for _, name := range client.V1Commands() {
		fmt.Fprintf(&text, "%s\n", strings.Join(textForms[name].usages, "\n"))
	}
	fmt.Fprintf(&text, "help [COMMAND]\nexit\n\n%s\n", fold("These are the text commands of Warden's first version. "+
		"Without --v1 there are those of the second too, and more that can be said."))
	return text.String()
}

func firstSentence(text string) string {
	first, _, _ := strings.Cut(strings.ReplaceAll(text, "\n", " "), ". ")
	return strings.TrimSuffix(first, ".") + "."
}

// help is what a command takes and answers.
func (c wardenCommand) help() string {
	var text strings.Builder
	leaves := flatten(c.fields())
	fmt.Fprintf(&text, "usage: %s", c.name)
	for _, leaf := range leaves {
		if leaf.required && !leaf.list {
			fmt.Fprintf(&text, " --%s %s", leaf.name(0), leaf.value())
		}
	}
	if slices.ContainsFunc(leaves, func(f leafField) bool { return !f.required || f.list }) {
		text.WriteString(" [--FIELD VALUE]...")
	}
	fmt.Fprintf(&text, "\n\n%s\n", wardenSentences[c.name])
	if len(leaves) > 0 {
		text.WriteByte('\n')
	}
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, leaf := range leaves {
		note := leafNote(c.name, leaf)
		switch {
		case leaf.required && leaf.list:
			note += " (required in each)"
		case leaf.required:
			note += " (required)"
		}
		fmt.Fprintf(table, "  --%s\t%s\t%s\n", leaf.name(0), leaf.value(), note)
	}
	table.Flush()
	if answered := c.answered(); answered != "" {
		fmt.Fprintf(&text, "\n%s\n", fold("It answers "+answered+"."))
	}
	if form, ok := textForms[c.name]; ok && form.usages[0] != c.name {
		fmt.Fprintf(&text, "As a text command: %s\n", strings.Join(form.usages, ", "))
	}
	return text.String()
}

// help is how a text command is written, and what it does.
func (f textForm) help() string {
	return fmt.Sprintf("usage: %s\n\n%s\n", strings.Join(f.usages, "\n       "), f.sentences)
}

// helpColumns is how wide help may be, but for its tables.
const helpColumns = 80

// fold breaks a text into lines.
func fold(text string) string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > helpColumns {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return strings.Join(append(lines, line), "\n")
}

// answered names the fields of the answer.
func (c wardenCommand) answered() string {
	if c.name == "run" || c.name == "stream" {
		return "with the job's output as it comes, and ends with its status"
	}
	name := strings.TrimSuffix(string(c.fields().FullName()), "Request") + "Response"
	response, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
	if err != nil {
		panic(err) // the .proto file is ours, and client's tests ask every request
	}
	var names []string
	for field := range inOrder(response.Descriptor()) {
		names = append(names, string(field.Name()))
	}
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}
