package main

import (
	"github.com/spf13/pflag"
)

// natsFlags say how NATS is reached. Secrets are given as files, or in the
// URL through the environment, never on the command line, which everybody on
// the machine can read.
type natsFlags struct {
	servers       []string
	creds, nkey   string
	ca, cert, key string
	inbox         string
}

func (f *natsFlags) register(flags *pflag.FlagSet) {
	flags.StringSliceVar(&f.servers, "nats", nil,
		"NATS servers, as URLs (default $"+natsEnv+" or "+defaultNATS+")")
	flags.StringVar(&f.creds, "nats-creds", "", "file with NATS credentials (a JWT and its key)")
	flags.StringVar(&f.nkey, "nats-nkey", "", "file with an nkey seed")
	flags.StringVar(&f.ca, "nats-ca", "", "certificate authority that signed the servers' certificates")
	flags.StringVar(&f.cert, "nats-cert", "", "certificate to show to the servers")
	flags.StringVar(&f.inbox, "nats-inbox", "", "what the subjects of answers begin with (default _INBOX)")
	flags.StringVar(&f.key, "nats-key", "", "key of --nats-cert")
}
