// Command hello is a small web application: it says which instance answered,
// and /env shows what the node told it.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// answerMax is how long a request may go on after the node has said stop.
const answerMax = 5 * time.Second

func main() {
	log.SetFlags(0)
	server := &http.Server{Addr: ":" + os.Getenv("PORT"), Handler: handler()}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		<-ctx.Done()
		log.Print("asked to stop: answering what is under way")
		ctx, cancel := context.WithTimeout(context.Background(), answerMax)
		defer cancel()
		server.Shutdown(ctx)
	}()
	log.Printf("go: listening on %s", server.Addr)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal("go: ", err)
	}
	<-finished
}

func handler() http.Handler {
	var served atomic.Int64
	routes := http.NewServeMux()
	routes.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		log.Printf("request %d: %s %s", served.Add(1), r.Method, r.URL.Path)
		fmt.Fprintf(w, "Hello from Go, instance %s on port %s, request %d\n",
			os.Getenv("CF_INSTANCE_INDEX"), os.Getenv("PORT"), served.Load())
	})
	routes.HandleFunc("GET /env", func(w http.ResponseWriter, r *http.Request) {
		environment := os.Environ()
		slices.Sort(environment)
		fmt.Fprintln(w, strings.Join(environment, "\n"))
	})
	return routes
}
