package model

import (
	"fmt"
	"strings"
	"time"

	"github.com/deacon-agent/deacon/isolation"
)

// Behaviour is what an application does, written as its start command:
// "serve", "serve after 3s", "deaf", "exit 7 after 1s", "stubborn", "serve says".
type Behaviour struct {
	Opens    time.Duration // until it listens
	Deaf     bool          // it never listens
	Ends     time.Duration // until it ends by itself; 0: never
	Exit     isolation.Exit
	Stubborn bool // it ignores SIGTERM
	Says     bool // it writes lines: one at once, one now and then, one at its end
}

func behaviourOf(job isolation.Job) (b Behaviour) {
	words := strings.Fields(strings.Join(job.Argv, " "))
	b.Opens = time.Millisecond
	for i, word := range words {
		switch word {
		case "deaf":
			b.Deaf = true
		case "stubborn":
			b.Stubborn = true
		case "says":
			b.Says = true
		case "exit":
			fmt.Sscan(words[i+1], &b.Exit.Code)
			b.Ends, b.Deaf = time.Millisecond, true
		case "after":
			d, err := time.ParseDuration(words[i+1])
			if err != nil {
				panic(fmt.Sprintf("model: start command %q: %v", job.Argv, err))
			}
			if b.Ends > 0 {
				b.Ends, b.Deaf = d, false
			} else {
				b.Opens = d
			}
		}
	}
	return b
}
