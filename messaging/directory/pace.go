package directory

import (
	"io"
	"net/http"
	"time"
)

// A client takes pieceMax bytes within pieceTime, or is gone: 4 KiB a second.
const (
	pieceMax  = 256 << 10
	pieceTime = time.Minute
)

// paced is an answer that may last as long as it likes while it gets on.
type paced struct {
	http.ResponseWriter
	control *http.ResponseController
}

// Unwrap is http.ResponseController's.
func (p *paced) Unwrap() http.ResponseWriter { return p.ResponseWriter }

func (p *paced) Write(b []byte) (written int, err error) {
	for len(b) > 0 && err == nil {
		var n int
		p.extend()
		n, err = p.ResponseWriter.Write(b[:min(len(b), pieceMax)])
		b, written = b[n:], written+n
	}
	return written, err
}

// ReadFrom leaves it to the kernel to send files.
func (p *paced) ReadFrom(r io.Reader) (sent int64, err error) {
	to, is := p.ResponseWriter.(io.ReaderFrom)
	if !is {
		return io.Copy(struct{ io.Writer }{p}, r)
	}
	whole, is := r.(*io.LimitedReader)
	if !is {
		whole = &io.LimitedReader{R: r, N: 1<<63 - 1}
	}
	for whole.N > 0 {
		p.extend()
		piece := &io.LimitedReader{R: whole.R, N: min(whole.N, pieceMax)}
		n, err := to.ReadFrom(piece)
		sent, whole.N = sent+n, whole.N-n
		if err != nil || piece.N > 0 {
			return sent, err
		}
	}
	return sent, nil
}

func (p *paced) flush() error {
	p.extend()
	return p.control.Flush()
}

// extend fails only where the connection is closed, which is seen next.
func (p *paced) extend() { p.control.SetWriteDeadline(time.Now().Add(pieceTime)) }
