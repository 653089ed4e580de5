// SPDX-License-Identifier: Apache-2.0

package promtest

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"

	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/prometheus/storage/remote"
)

// Accept says which remote write messages a server takes.
type Accept int

// What a server takes. Messages that are not accepted are answered 415.
const (
	// AcceptBoth is a current Prometheus.
	AcceptBoth Accept = iota
	// Accept1 and Accept2 take one protocol only.
	Accept1
	Accept2
	// AcceptAnyAs1 is a receiver that does not look at the content type, as
	// Prometheus before 2.54 and VictoriaMetrics: a 2.0 message is read as an
	// empty 1.0 one and answered 204, its samples are lost.
	AcceptAnyAs1
)

// maxBody bounds what is read of a request's compressed body.
const maxBody = 64 << 20

// writer is the remote write handler with what is wrapped around it.
type writer struct {
	s     *Server
	outer http.Handler

	// mu guards what follows. A request that is being stored holds it for reading.
	mu     sync.RWMutex
	inner  http.Handler
	coerce bool
}

func newWriter(s *Server) *writer {
	w := &writer{s: s}
	w.accept(s.opts.Accept)
	w.outer = http.HandlerFunc(w.store)
	if s.opts.Middleware != nil {
		w.outer = s.opts.Middleware(w.outer)
	}
	return w
}

// SetAccept changes which messages are taken, from the next request on. It waits
// for the requests that are being stored.
func (s *Server) SetAccept(a Accept) { s.write.accept(a) }

func (w *writer) accept(a Accept) {
	msgs := remoteapi.MessageTypes{remoteapi.WriteV1MessageType, remoteapi.WriteV2MessageType}
	switch a {
	case Accept1, AcceptAnyAs1:
		msgs = msgs[:1]
	case Accept2:
		msgs = msgs[1:]
	}
	h := remote.NewWriteHandler(w.s.log, nil, w.s.db, msgs, w.s.opts.StartTimestamps, false, true)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inner, w.coerce = h, a == AcceptAnyAs1
}

func (w *writer) ServeHTTP(rw http.ResponseWriter, r *http.Request) { w.outer.ServeHTTP(rw, r) }

// store answers a request by Prometheus' handler. The answer is held back until
// the request was shown to OnRequest, so that whoever has the answer can rely on
// it having been seen.
func (w *writer) store(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		http.Error(rw, "read the request's body: "+err.Error(), http.StatusBadRequest)
		return
	}
	req := &Request{Header: r.Header.Clone(), Body: body}
	answer := httptest.NewRecorder()
	w.answer(answer, r, body)
	req.Status, req.Answer = answer.Code, answer.Header()
	if req.Status/100 == 2 {
		w.s.meta.learn(req)
	}
	if w.s.opts.OnRequest != nil {
		w.s.opts.OnRequest(req)
	}
	for name, values := range answer.Header() {
		rw.Header()[name] = values
	}
	rw.WriteHeader(answer.Code)
	_, _ = rw.Write(answer.Body.Bytes())
}

func (w *writer) answer(rw http.ResponseWriter, r *http.Request, body []byte) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	// The handler strips the encoding and replaces the body: it gets its own copy.
	inner := r.Clone(r.Context())
	inner.Body = io.NopCloser(bytes.NewReader(body))
	if w.coerce {
		inner.Header.Set("Content-Type", "application/x-protobuf")
	}
	w.inner.ServeHTTP(rw, inner)
}

// Transport answers requests in the calling goroutine, whatever host they name:
// for a client under a virtual clock, where no socket may be waited for.
func (s *Server) Transport() http.RoundTripper { return transport{s.handler} }

type transport struct{ h http.Handler }

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	in := r.Clone(r.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	defer in.Body.Close()
	in.RequestURI = in.URL.RequestURI()
	rec := httptest.NewRecorder()
	t.h.ServeHTTP(rec, in)
	res := rec.Result()
	res.Request = r
	return res, nil
}
