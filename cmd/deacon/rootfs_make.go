package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/deacon-agent/deacon/staging/stack"
)

func newRootfsBuild(s *session, file *string) *cobra.Command {
	var o stack.Build
	cmd := &cobra.Command{
		Use:   "build NAME",
		Short: "Make a stack of the packages of Debian or Ubuntu",
		Long: `Make a stack of a distribution's packages, by debootstrap, which must be
installed. Suite, mirror and keys are those of this machine's own apt sources
unless flags say otherwise; a release that isn't signed by one of the keys is
refused. Proxies are taken from http_proxy and https_proxy.

What is of this machine, or a secret that all containers would share, isn't left
in it: package lists, logs, host keys, the machine's id. The user vcap is added.

It ends with 0 if there is a stack now; what debootstrap said is kept beside the
stack, or, where it failed, in the file that the error names.`,
		Example: exampleText(
			"deacon rootfs build bookworm",
			"deacon rootfs build apps --suite bookworm --packages python3,nodejs,ca-certificates",
			"deacon rootfs build noble --suite noble --mirror http://mirror.example/ubuntu --keyring ubuntu.gpg"),
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Progress = s.progress
			return s.makeStack(*file, func(to stacks) (stack.Manifest, error) {
				m, err := to.Build(cmd.Context(), args[0], o)
				if failed, is := errors.AsType[*stack.BuildError](err); is {
					const others = "; another mirror: --mirror URL, another suite: --suite NAME"
					return m, fail(exitFailed, "see "+failed.Log+others, "%w", err)
				}
				return m, err
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Suite, "suite", "", "suite, such as bookworm (default this machine's)")
	flags.StringVar(&o.Mirror, "mirror", "", "URL of the mirror (default that of this machine's apt sources)")
	flags.StringSliceVar(&o.Packages, "packages", []string{"ca-certificates"}, "packages beside those of the variant")
	flags.StringVar(&o.Variant, "variant", "minbase", "debootstrap's variant")
	flags.StringVar(&o.Keyring, "keyring", "", "file of the keys to trust (default those of the apt source)")
	flags.StringVar(&o.Cache, "cache", "", "folder to keep the packages in for the next build (default none)")
	return cmd
}

func newRootfsImport(s *session, file *string) *cobra.Command {
	var o stack.Import
	cmd := &cobra.Command{
		Use:   "import NAME SOURCE",
		Short: "Make a stack of an archive, a folder or an image",
		Long: `Make a stack of what is on this machine. SOURCE is

    a folder that is a root file system, or an archive of one: tar, tar.gz or
    tar.zst; a dash for the standard input
    an OCI layout, as a folder or an archive
    what docker save writes

Of an image the layers are applied in their order, and each must have the digest
that the image tells. It must be for this machine: linux and its architecture.
An archive that is cut off or climbs out of its folder is refused. Devices below
/dev are left out, others refused.

What a stack needs and SOURCE doesn't have is added, and said: mount points, the
user vcap. What is there stays as it is.`,
		Example: exampleText(
			"deacon rootfs import apps rootfs.tar.zst",
			"docker export some-container | deacon rootfs import apps -",
			"deacon rootfs import apps ./layout --image v2"),
		Args: argumentsExactly(2, "a name and a source"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Path, o.Stdin, o.Progress = args[1], cmd.InOrStdin(), s.progress
			return s.makeStack(*file, func(to stacks) (stack.Manifest, error) { return to.Import(cmd.Context(), args[0], o) })
		},
	}
	cmd.Flags().StringVar(&o.Image, "image", "", "which image, by name or digest, where SOURCE has several")
	return cmd
}

func newRootfsPull(s *session, file *string) *cobra.Command {
	var o stack.Pull
	cmd := &cobra.Command{
		Use:   "pull NAME REFERENCE",
		Short: "Make a stack of an image in a registry",
		Long: `Fetch an image from a registry and make a stack of it, as import does.
REFERENCE is HOST/REPOSITORY:TAG, or HOST/REPOSITORY@sha256:… for exactly that
image and no other. Who has logged in with docker or podman as this user is
known to the registry by that.`,
		Example: exampleText(
			"deacon rootfs pull apps registry.example/stacks/apps:v2",
			"deacon rootfs pull test localhost:5000/apps:latest"),
		Args: argumentsExactly(2, "a name and a reference"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Reference, o.Progress = args[1], s.progress
			return s.makeStack(*file, func(to stacks) (stack.Manifest, error) { return to.Pull(cmd.Context(), args[0], o) })
		},
	}
	toggle(cmd.Flags(), &o.PlainHTTP, "plain-http", "", "speak HTTP to a registry on another machine too")
	return cmd
}

// makeStack makes a stack and shows it.
func (s *session) makeStack(file string, make func(stacks) (stack.Manifest, error)) error {
	to, err := s.stacks(file)
	if err != nil {
		return err
	}
	m, err := make(to)
	if errors.Is(err, context.Canceled) {
		return err
	}
	if _, told := errors.AsType[*failure](err); told {
		return err
	}
	if err != nil {
		return asStackFailure(err)
	}
	return s.showMade(to, m)
}
