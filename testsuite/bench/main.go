package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// options are what the command line says.
type options struct {
	rounds     int
	containers int
	json       string
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 100, "how many containers each row makes")
	flag.IntVar(&o.containers, "containers", 200, "how many idle containers memory is measured with")
	flag.StringVar(&o.json, "json", "", "also write all figures to this file")
	flag.Parse()
	if err := o.check(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	if !inside() {
		os.Exit(enter())
	}
	// An interrupt ends the measuring; what was made is taken away as usual.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, o)
	stop()
	os.Exit(code)
}

func (o options) check() error {
	switch {
	case flag.NArg() != 0:
		return fmt.Errorf("what is %q? there are options only", flag.Arg(0))
	case o.rounds < 1:
		return fmt.Errorf("-rounds %d: at least one", o.rounds)
	case o.containers < 1 || o.containers > containersMax:
		return fmt.Errorf("-containers %d: 1 to %d", o.containers, containersMax)
	case os.Geteuid() != 0:
		return errors.New("needs root (namespaces, cgroups, mounts)")
	}
	return nil
}

// containersMax is what the pool of the box has slots for, well below it.
const containersMax = 2000

// run measures, prints and returns the exit status: 1 if a limit does not hold
// or something could not be measured.
func run(ctx context.Context, o options) int {
	var r *report
	err := onStand(ctx, func(s *stand) { r = measure(s, o) })
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	r.print(os.Stdout)
	if o.json != "" {
		if err := r.save(o.json); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			return 1
		}
	}
	if !r.holds() {
		return 1
	}
	return 0
}

// measure does everything in its order: what is needed is found or made before
// the first clock starts.
func measure(s *stand, o options) *report {
	shop := newWorkshop(s)
	node, box := newNode(s, shop), newBox(s, shop)
	bare, wrap := newFloor(s, shop, floorName, shop.folder), newBwrap(shop)
	crun, runc := newOCI(s, shop, "crun"), newOCI(s, shop, "runc")
	r := newReport(o)
	r.Starts = takeTurns(s,
		[]contender{bare, newFloor(s, shop, diskless, shop.memory), wrap, box, node, crun, runc}, o.rounds)
	r.Rates = measureRates(s, []rater{bare, wrap, box, node,
		bulk{oci: crun}, bulk{oci: runc}, bulk{oci: runc, withoutCgroups: true}})
	r.Door = measureDoor(s, node, box, o.rounds)
	r.Memory = measureMemory(s, node, o.containers)
	r.check()
	return r
}
