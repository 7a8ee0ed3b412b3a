package status

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
)

const textType = "text/plain; charset=utf-8"

// routes are the whole of what can be asked.
func (d *Door) routes() http.Handler {
	metrics := d.bound(d.sources.Metrics)
	if d.config.GuardMetrics {
		metrics = d.guard(metrics)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", d.healthz)
	mux.Handle("GET /varz", d.guard(d.bound(http.HandlerFunc(d.varz))))
	mux.Handle("GET /metrics", metrics)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 0) // none of ours
		mux.ServeHTTP(w, r)
	})
}

// bound keeps what costs something from being made many times at once.
func (d *Door) bound(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case d.places <- struct{}{}:
			defer func() { <-d.places }()
		default:
			w.Header().Set("Retry-After", "1")
			http.Error(w, "too many ask at once", http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// guard lets in who knows the password. What is compared has one length, whatever
// was given, and so takes one time.
func (d *Door) guard(next http.Handler) http.Handler {
	user, password := sha256.Sum256([]byte(d.config.User)), sha256.Sum256([]byte(d.config.Password))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		gotUser, gotPassword, _ := r.BasicAuth()
		u, p := sha256.Sum256([]byte(gotUser)), sha256.Sum256([]byte(gotPassword))
		if subtle.ConstantTimeCompare(u[:], user[:])&subtle.ConstantTimeCompare(p[:], password[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="deacon", charset="UTF-8"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (d *Door) healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if err := d.sources.Ready(); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", textType)
	fmt.Fprint(w, "ok\n")
}

func (d *Door) varz(w http.ResponseWriter, r *http.Request) {
	state := "RUNNING"
	if d.sources.Ready() != nil {
		state = "NOT_READY"
	}
	body, err := json.MarshalIndent(varzOf(d.sources.Report(r.Context()), state), "", "  ")
	if err != nil {
		d.config.Log.Error("the node's account can't be told", "error", err)
		http.Error(w, "the node's account can't be told", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body)
}
