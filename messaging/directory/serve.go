package directory

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"syscall"
	"time"
)

// ServeHTTP answers one request, in the words of the DEA's two servers: what the
// first of them refused is JSON, what the second could not do is text.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	answer := &paced{w, control}
	answer.extend()
	if r.ContentLength != 0 { // nobody here reads one, and waiting for its end has no bound
		control.SetReadDeadline(time.Now().Add(headerMax)) // fails only where the connection is closed
		w.Header().Set("Connection", "close")
		refuse(w, http.StatusBadRequest, "A request for a file has no body")
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed, "Method not allowed")
		return
	}
	instance, path, err := d.config.Signer.check(r.URL)
	if err == nil {
		var file *os.File
		if file, err = d.files.Open(r.Context(), instance, path); err == nil {
			defer file.Close()
			d.serve(answer, r, file)
			return
		}
	}
	status, words := refusal(err)
	d.log.Debug("a request for files is refused", "instance", instance, "status", status, "reason", err)
	if words == "" {
		failed(w, err)
		return
	}
	refuse(w, status, words)
}

// refusal is the wire's status and words; no words: what went wrong is the
// node's own failure.
func refusal(err error) (status int, words string) {
	switch {
	case errors.Is(err, errElsewhere):
		return http.StatusNotFound, "Not found"
	case errors.Is(err, errForged):
		return http.StatusUnauthorized, "Invalid HMAC"
	case errors.Is(err, errExpired):
		return http.StatusBadRequest, "Url expired"
	case errors.Is(err, ErrUnknown):
		return http.StatusNotFound, "Unknown instance"
	case errors.Is(err, ErrUnavailable):
		return http.StatusServiceUnavailable, "Instance unavailable"
	case errors.Is(err, fs.ErrPermission):
		return http.StatusForbidden, "Not accessible"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP),
		errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.EINVAL): // so no name can be either
		return http.StatusNotFound, "Entity not found"
	}
	return http.StatusInternalServerError, ""
}

func refuse(w http.ResponseWriter, status int, words string) {
	body, _ := json.Marshal(map[string]string{"error": words}) // a string can't fail
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(body) // who has gone has gone
}

// failed says what the kernel says, and nothing of the node.
func failed(w http.ResponseWriter, err error) {
	text := "it failed inside the node"
	if errno, is := errors.AsType[syscall.Errno](err); is {
		text = errno.Error()
	}
	plainly(w, http.StatusInternalServerError, "Can't serve request due to error: "+text)
}

func plainly(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(status)
	fmt.Fprint(w, text)
}

// serve sends what was opened.
func (d *Door) serve(w *paced, r *http.Request, file *os.File) {
	info, err := file.Stat()
	if err != nil {
		failed(w, err)
		return
	}
	_, tail := r.URL.Query()["tail"]
	switch {
	case info.IsDir():
		list(w, file)
	case tail:
		d.tail(w, r, file)
	default:
		// What it is called says nothing: its type is told by its beginning.
		http.ServeContent(w, r, "", info.ModTime(), file)
	}
}
