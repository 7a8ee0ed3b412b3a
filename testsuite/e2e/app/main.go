// Command app is the application that whole-node tests run: an HTTP server
// that does to its container whatever the test asks.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	fmt.Println("app: instance", os.Getenv("CF_INSTANCE_INDEX"), "listens on", os.Getenv("PORT"))
	for path, act := range map[string]func(*http.Request) string{
		"/": hello, "/env": environment, "/dial": dial, "/read": read, "/list": list, "/write": write,
		"/hog": hog, "/forks": forks, "/exit": exit, "/run": run, "/say": say, "/wait": wait,
	} {
		http.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, act(r)) })
	}
	server := &http.Server{Addr: ":" + os.Getenv("PORT")}
	if os.Getenv("FINISHES") != "" {
		go finish(server)
	}
	fmt.Fprintln(os.Stderr, server.ListenAndServe())
	if os.Getenv("FINISHES") != "" {
		select {} // finish ends it
	}
	os.Exit(1)
}

// finish answers what is asked already before it ends, as a good application does.
func finish(server *http.Server) {
	ordered := make(chan os.Signal, 1)
	signal.Notify(ordered, syscall.SIGTERM)
	<-ordered
	server.Shutdown(context.Background())
	os.Exit(0)
}

// wait answers after a while.
func wait(r *http.Request) string {
	d, err := time.ParseDuration(r.FormValue("for"))
	if err != nil {
		return "failed: " + err.Error()
	}
	time.Sleep(d)
	return "waited"
}

func hello(*http.Request) string       { return "hello from " + os.Getenv("CF_INSTANCE_INDEX") + "\n" }
func environment(*http.Request) string { return strings.Join(os.Environ(), "\n") }

// dial tells what a TCP connect to addr comes to.
func dial(r *http.Request) string {
	conn, err := net.DialTimeout("tcp", r.FormValue("addr"), 2*time.Second)
	if err != nil {
		return "failed: " + err.Error()
	}
	conn.Close()
	return "connected"
}

func read(r *http.Request) string {
	body, err := os.ReadFile(r.FormValue("path"))
	if err != nil {
		return "failed: " + err.Error()
	}
	return string(body)
}

func list(r *http.Request) string {
	entries, err := os.ReadDir(r.FormValue("path"))
	if err != nil {
		return "failed: " + err.Error()
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, "\n")
}

// write fills a file with as many MiB as asked and says how it went.
func write(r *http.Request) string {
	mib, _ := strconv.Atoi(r.FormValue("mib"))
	file, err := os.Create(r.FormValue("path"))
	if err != nil {
		return "failed: " + err.Error()
	}
	defer file.Close()
	block := make([]byte, 1<<20)
	for i := range mib {
		if _, err := file.Write(block); err != nil {
			return fmt.Sprintf("failed after %d MiB: %v", i, err)
		}
	}
	if err := file.Sync(); err != nil {
		return "failed at sync: " + err.Error()
	}
	return "written"
}

var held [][]byte

func hog(r *http.Request) string {
	mib, _ := strconv.Atoi(r.FormValue("mib"))
	for range mib {
		block := make([]byte, 1<<20)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1
		}
		held = append(held, block)
	}
	return "held"
}

// forks starts sleepers until that fails, as a fork bomb does, and says when.
func forks(r *http.Request) string {
	most, _ := strconv.Atoi(r.FormValue("most"))
	for i := range most {
		if err := exec.Command("/bin/sleep", "60").Start(); err != nil {
			return fmt.Sprintf("refused after %d: %v", i, err)
		}
	}
	return "never refused"
}

func exit(r *http.Request) string {
	code, _ := strconv.Atoi(r.FormValue("code"))
	os.Exit(code)
	return ""
}

func run(r *http.Request) string {
	out, err := exec.Command("/bin/sh", "-c", r.FormValue("sh")).CombinedOutput()
	if err != nil {
		return string(out) + "failed: " + err.Error()
	}
	return string(out)
}

func say(r *http.Request) string {
	fmt.Println(r.FormValue("text"))
	return "said"
}
