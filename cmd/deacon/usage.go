package main

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// arguments checks how many there are; few is 0 or 1, and many not less.
func arguments(few, many int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= few && len(args) <= many {
			return nil
		}
		takes, got := "at most one argument", "none"
		switch {
		case many == 0:
			takes = "no argument"
		case few == many && few > 1:
			takes = fmt.Sprintf("%d arguments", few)
		case many > 1:
			takes = fmt.Sprintf("%d to %d arguments", few, many)
		case few == 1:
			takes = "one argument"
		}
		if len(args) > 0 {
			got = joinWords(args)
		}
		return fmt.Errorf("%s takes %s, and got %s; it is written: %s", cmd.CommandPath(), takes, plain(got),
			strings.TrimSuffix(cmd.UseLine(), " [flags]"))
	}
}

// argumentsExactly checks that there are so many; what says which.
func argumentsExactly(count int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == count {
			return nil
		}
		return fmt.Errorf("%s takes %s, and got %s; it is written: %s", cmd.CommandPath(), what,
			plain(cmp.Or(joinWords(args), "none")), strings.TrimSuffix(cmd.UseLine(), " [flags]"))
	}
}

// oneOfItsCommands is for what has commands below it: a word that is left over
// is none of them, and maybe one that was mistyped.
func oneOfItsCommands(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("unknown command %q for %q%s", args[0], cmd.CommandPath(), meant(cmd, args[0]))
}

// mistypedMax is in how many letters a word may differ from what was meant.
const mistypedMax = 2

func meant(cmd *cobra.Command, word string) string {
	cmd.SuggestionsMinimumDistance = mistypedMax
	suggestions := cmd.SuggestionsFor(word)
	if len(suggestions) == 0 {
		return ""
	}
	return "; did you mean " + strings.Join(suggestions, " or ") + "?"
}

// newHelp is cobra's help command, but that a word too many or a topic that
// isn't there is an error.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Explain a command, or what the exit codes mean",
		Long:    `Explain a command, as it does itself with --help. "help exit-codes" says what the exit codes mean.`,
		Example: exampleText("deacon help run", "deacon help config check", "deacon help exit-codes"),
		GroupID: groupAside,
		RunE: func(cmd *cobra.Command, args []string) error {
			found, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				word := args[len(args)-max(len(rest), 1)]
				return fail(exitUsage, "see deacon help", "there is no command or topic %q%s",
					strings.Join(args, " "), meant(found, word))
			}
			return found.Help()
		},
	}
}

// helpFlag is as cobra's own, for which pflag writes "--help[=true|false]".
type helpFlag bool

func (f *helpFlag) String() string { return strconv.FormatBool(bool(*f)) }
func (f *helpFlag) Type() string   { return "bool" }

func (f *helpFlag) Set(text string) error {
	value, err := strconv.ParseBool(text)
	*f = helpFlag(value)
	return err
}

func addHelpFlags(cmd *cobra.Command) {
	cmd.Flags().VarPF(new(helpFlag), "help", "h", "explain "+cmd.CommandPath()).NoOptDefVal = "true"
	for _, child := range cmd.Commands() {
		addHelpFlags(child)
	}
}
