package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/deacon-agent/deacon/agent/doctor"
)

func main() {
	if told, probing := os.LookupEnv(doctor.ProbeEnv); probing {
		os.Exit(probe(told))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // whoever is in a hurry types Ctrl-C twice
	code := execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// probe is a part of the doctor's, in a namespace that goes with it.
func probe(told string) int {
	if err := doctor.ProbeFirewall(told); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitFailed
	}
	return exitOK
}
