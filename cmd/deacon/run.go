package main

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/deacon-agent/deacon/messaging"
)

// runOptions are the flags of `deacon run`, checked.
type runOptions struct {
	name      string
	memory    mebibytes
	disk      mebibytes
	files     uint64
	uris      []string
	noRoute   bool
	instances int
	env       []string
	stack     string
	process   string
	command   string
	sha1      string
	serve     string
	timeout   time.Duration
	detach    bool

	source    string   // droplet, folder or URL; empty: a bare command
	arguments []string // the bare command
}

// instancesMax bounds one run; more is a controller's business.
const instancesMax = 100

func newRun(s *session) *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run DROPLET | FOLDER | URL | -- COMMAND [ARGUMENT...]",
		Short: "Run an application on a node that has room",
		Long: `Run an application: a droplet (.tgz), a folder with a Procfile, a droplet that
some web server has (with --sha1), or a bare command that the node's stack has.

It speaks to nodes as a cloud controller does: it waits for their offers, picks
the one that fits best, sends the start message, and serves the droplet to that
node over HTTP until it is fetched. Then it prints where each instance answers,
follows the output, and stops the application at Ctrl-C. With -d it leaves the
application running and ends as soon as every instance runs.

A bare command's words are joined by spaces and run by a shell in the container,
as with ssh: quote '$PORT' so that your own shell leaves it alone. A process of
type web, and a bare command, must listen on $PORT before it counts as running;
--no-route is for what doesn't.`,
		Example: exampleText(
			"deacon run examples/python",
			"deacon run hello.tgz --name hello --instances 2 --memory 256M -d",
			"deacon run --no-route -- 'while sleep 1; do date; done'",
			"deacon run -- python3 -m http.server '$PORT'"),
		GroupID: groupApps,
		Args:    runArguments(&o),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			return s.run(cmd.Context(), o)
		},
	}
	o.register(cmd.Flags())
	return cmd
}

func (o *runOptions) register(flags *pflag.FlagSet) {
	o.memory, o.disk = 256, 1024
	flags.StringVar(&o.name, "name", "", "what to call it (default: the folder's, file's or program's name)")
	flags.VarP(&o.memory, "memory", "m", "memory of each instance")
	flags.Var(&o.disk, "disk", "disk of each instance")
	flags.Uint64Var(&o.files, "files", 1024, "files that each process may have open")
	flags.StringSliceVar(&o.uris, "uri", nil, "host name to route to it (default NAME.localhost)")
	toggle(flags, &o.noRoute, "no-route", "", "it is a worker: no route, and no port that has to open")
	flags.IntVar(&o.instances, "instances", 1, "how many")
	flags.StringArrayVarP(&o.env, "env", "e", nil, "environment variable, as NAME=VALUE")
	flags.StringVar(&o.stack, "stack", "", "root file system to run on (default: the node's first)")
	flags.StringVar(&o.process, "process", "", "process type of the Procfile (default web, or the only one)")
	flags.StringVar(&o.command, "command", "", "start command, instead of the droplet's own")
	flags.StringVar(&o.sha1, "sha1", "", "digest of the droplet at URL")
	flags.StringVar(&o.serve, "serve", "127.0.0.1",
		"address of this machine where nodes fetch the droplet; set it for other machines' nodes")
	flags.DurationVar(&o.timeout, "timeout", time.Minute, "how long it may take until it listens")
	toggle(flags, &o.detach, "detach", "d", "leave it running")
}

// runArguments tells a source from a bare command, which follows a "--".
func runArguments(o *runOptions) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch dash := cmd.ArgsLenAtDash(); {
		case dash == 0 && len(args) > 0:
			o.arguments = args
		case dash > 0:
			return fmt.Errorf("%q stands before --: give either a droplet or a command", args[0])
		case len(args) == 1:
			o.source = args[0]
		case len(args) > 1:
			return fmt.Errorf("one droplet at a time, not %q; a command follows a --", args)
		default:
			return fmt.Errorf("give a droplet, a folder, or a command behind a --")
		}
		return nil
	}
}

var validSHA1 = regexp.MustCompile(`^[0-9a-fA-F]{40}$`)

var validName = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9._-]{0,61}[a-zA-Z0-9])?$`)

// check completes the options and refuses what can't work.
func (o *runOptions) check() error {
	if o.name == "" {
		o.name = o.derivedName()
	}
	switch {
	case !validName.MatchString(o.name):
		return fail(exitUsage, "use letters, digits, . - and _, at most 63", "--name %q is no name", o.name)
	case o.instances < 1 || o.instances > instancesMax:
		return fail(exitUsage, "", "--instances %d: want 1 to %d", o.instances, instancesMax)
	case o.noRoute && len(o.uris) > 0:
		return fail(exitUsage, "", "--no-route and --uri contradict one another")
	case o.timeout < time.Second:
		return fail(exitUsage, "", "--timeout %s is less than a second", o.timeout)
	case o.isURL() && o.sha1 == "":
		return fail(exitUsage, "get it by: sha1sum DROPLET", "a droplet at a URL needs --sha1, so that the node can check it")
	case o.isURL() && !validSHA1.MatchString(o.sha1):
		return fail(exitUsage, "get it by: sha1sum DROPLET", "--sha1 %q: want 40 hex digits", o.sha1)
	case !o.isURL() && o.sha1 != "":
		return fail(exitUsage, "", "--sha1 is only for a droplet at a URL; others are hashed here")
	}
	for _, variable := range o.env {
		if name, _, ok := strings.Cut(variable, "="); !ok || name == "" {
			return fail(exitUsage, "", "--env %q: want NAME=VALUE", variable)
		}
	}
	return nil
}

func (o *runOptions) isURL() bool {
	return strings.HasPrefix(o.source, "http://") || strings.HasPrefix(o.source, "https://")
}

// derivedName is the folder's, file's or program's name.
func (o *runOptions) derivedName() string {
	if o.source == "" {
		words := strings.Fields(o.arguments[0])
		if len(words) == 0 {
			return ""
		}
		return strings.Trim(notInNames.ReplaceAllString(filepath.Base(words[0]), "-"), "-._")
	}
	path := o.source
	if absolute, err := filepath.Abs(path); err == nil && !o.isURL() {
		path = absolute // "." has a name too
	}
	base := filepath.Base(path)
	for _, suffix := range []string{".tgz", ".tar.gz", ".tar.zst", ".tar"} {
		base = strings.TrimSuffix(base, suffix)
	}
	return strings.Trim(notInNames.ReplaceAllString(base, "-"), "-._")
}

var notInNames = regexp.MustCompile(`[^a-zA-Z0-9._-]+`)

// variables are the --env flags, typed.
func (o *runOptions) variables() []messaging.Variable {
	var variables []messaging.Variable
	for _, text := range o.env {
		name, value, _ := strings.Cut(text, "=")
		variables = append(variables, messaging.Variable{Name: name, Value: value})
	}
	return variables
}

// routes are the host names that lead to it; none for a worker.
func (o *runOptions) routes(worker bool) []string {
	switch {
	case len(o.uris) > 0:
		return o.uris
	case o.noRoute || worker:
		return nil
	default:
		return []string{strings.ToLower(o.name) + ".localhost"}
	}
}

func (s *session) run(ctx context.Context, o runOptions) error {
	link, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer link.close()
	bits, err := prepare(o)
	if err != nil {
		return err
	}
	defer bits.discard()
	l := launch{session: s, link: link, options: o, bits: bits}
	return l.run(ctx)
}
