package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
)

// A child that is to end with its parent is bound to the thread that started
// it, so everything is started from the main thread.
func init() { runtime.LockOSThread() }

func main() {
	once := flag.Bool("once", false, "end when all is shown, instead of waiting for Ctrl-C")
	bin := flag.String("bin", defaultBin(), "folder of the built programs and droplets")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	d := &demo{bin: *bin, once: *once}
	if err := d.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "\ndemo: FAILED:", err)
		os.Exit(1)
	}
}

func defaultBin() string {
	self, err := os.Executable()
	if err != nil {
		return "bin"
	}
	return filepath.Dir(self)
}
