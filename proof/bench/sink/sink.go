// SPDX-License-Identifier: Apache-2.0

// Package sink is a remote write receiver that keeps no samples and counts what
// matters of them: bytes, order, and which of the target's answers arrived.
package sink

import (
	"crypto/tls"
	"fmt"
	"hash/maphash"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/golang/snappy"
)

// Totals of what was accepted since the start. Differences of two are what came
// in between.
type Totals struct {
	Requests, Bytes, Samples int
	// OutOfOrder counts samples older than a sample of their series that came
	// before; Repeated those that came a second time, as after a lost answer.
	OutOfOrder, Repeated int
	// Altered counts those of the repeated ones that came with another value.
	Altered int
	// Waited counts samples that are stamped before the receiver last came back, WaitedBytes
	// their share of the bodies that brought them.
	Waited      int
	WaitedBytes float64
	// Rejected counts requests that were answered with the status of Fail.
	Rejected int
	// Malformed counts requests that no receiver could have read; Error is the
	// last one's.
	Malformed int
	Error     string
}

// Sub is what t has more than o.
func (t Totals) Sub(o Totals) Totals {
	t.Requests -= o.Requests
	t.Bytes -= o.Bytes
	t.Samples -= o.Samples
	t.OutOfOrder -= o.OutOfOrder
	t.Repeated -= o.Repeated
	t.Altered -= o.Altered
	t.Waited -= o.Waited
	t.WaitedBytes -= o.WaitedBytes
	t.Rejected -= o.Rejected
	t.Malformed -= o.Malformed
	return t
}

// stamped is a sample without its series.
type stamped struct {
	t int64
	v uint64
}

// recent are a series' newest samples, so that one that comes again is told from one
// that comes late.
type recent struct {
	points []stamped
	at     int // where the next goes once there are enough
	last   int64
}

const recentPoints = 256

// add takes a sample that is newer than all before, and reports whether it is.
func (r *recent) add(p stamped) bool {
	if len(r.points) > 0 && p.t <= r.last {
		return false
	}
	r.last = p.t
	if len(r.points) < recentPoints {
		r.points = append(r.points, p)
		return true
	}
	r.points[r.at] = p
	r.at = (r.at + 1) % recentPoints
	return true
}

// Options of a sink.
type Options struct {
	// Sequence is the name of the series whose values number the scrapes of a job.
	Sequence string
	// TLS is the server's side, nil for none.
	TLS *tls.Config
	// Content is what the names of the series begin with whose samples are summed, by job
	// and time; empty for none.
	Content string
}

// Sink is the receiver. It takes remote write 1.0 and 2.0, snappy only.
type Sink struct {
	// Addr is "127.0.0.1:port", the same over Down and Up.
	Addr string

	tls *tls.Config

	mu      sync.Mutex
	srv     *http.Server
	status  int
	totals  Totals
	recent  map[uint64]*recent
	dec     decoder
	back    time.Time // when it was there again
	resumed time.Time // when it first took something since
	changed chan struct{}
}

// New starts a receiver on a free loopback port.
func New(o Options) (*Sink, error) {
	s := &Sink{
		Addr: "127.0.0.1:0", tls: o.TLS, recent: map[uint64]*recent{}, changed: make(chan struct{}),
		dec: decoder{seed: maphash.MakeSeed(), jobs: map[string]*job{}, sequence: o.Sequence, content: o.Content},
	}
	return s, s.Up()
}

// URL is where to send.
func (s *Sink) URL() string {
	if s.tls != nil {
		return "https://" + s.Addr + "/api/v1/write"
	}
	return "http://" + s.Addr + "/api/v1/write"
}

// Up accepts connections again.
func (s *Sink) Up() error {
	l, err := net.Listen("tcp", s.Addr)
	if err != nil {
		return fmt.Errorf("listen for remote write: %w", err)
	}
	if s.tls != nil {
		l = tls.NewListener(l, s.tls)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Addr = l.Addr().String()
	s.srv = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	s.status, s.back, s.resumed = 0, time.Now(), time.Time{}
	go s.srv.Serve(l)
	return nil
}

// Down cuts all connections and refuses new ones.
func (s *Sink) Down() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.srv.Close()
}

// Fail answers each request with that status from now on; 0 accepts again.
func (s *Sink) Fail(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status != 0 && status == 0 {
		s.back, s.resumed = time.Now(), time.Time{}
	}
	s.status = status
}

// Totals are the counts so far.
func (s *Sink) Totals() Totals {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.totals
}

// Back is when it was there again, by Up or Fail(0).
func (s *Sink) Back() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.back
}

// Resumed is when the first request was accepted since the start, Up or Fail(0).
func (s *Sink) Resumed() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resumed
}

// Wait blocks until done says so, asking it after each accepted request, or until
// the time is over, and reports which.
func (s *Sink) Wait(limit time.Duration, done func() bool) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		if done() {
			return true
		}
		select {
		case <-changed:
		case <-timer.C:
			return done()
		}
	}
}

// ServeHTTP is one remote write request.
func (s *Sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<20))
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status != 0 {
		s.totals.Rejected++
		http.Error(w, "told to fail", s.status)
		return
	}
	if r.Header.Get("Content-Encoding") != "snappy" {
		http.Error(w, "snappy only", http.StatusUnsupportedMediaType)
		return
	}
	two := strings.Contains(r.Header.Get("Content-Type"), "io.prometheus.write.v2.Request")
	raw, err := snappy.Decode(nil, body)
	if err == nil {
		err = s.dec.request(raw, two)
	}
	if err != nil {
		s.totals.Malformed++
		s.totals.Error = err.Error()
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.count(len(body))
	if two {
		w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", strconv.Itoa(len(s.dec.samples)))
		w.Header().Set("X-Prometheus-Remote-Write-Histograms-Written", "0")
		w.Header().Set("X-Prometheus-Remote-Write-Exemplars-Written", "0")
	}
	w.WriteHeader(http.StatusNoContent)
}

// count takes over what was decoded. s.mu is held.
func (s *Sink) count(wire int) {
	arrived := time.Now()
	s.totals.Requests++
	s.totals.Bytes += wire
	s.totals.Samples += len(s.dec.samples)
	if s.resumed.IsZero() && len(s.dec.samples) > 0 {
		s.resumed = arrived
	}
	var r *recent
	waited := 0
	for i, p := range s.dec.samples {
		of := &s.dec.series[p.series]
		if i == 0 || p.series != s.dec.samples[i-1].series {
			if r = s.recent[of.key]; r == nil {
				r = &recent{}
				s.recent[of.key] = r
			}
		}
		if p.t <= s.back.UnixMilli() {
			waited++
		}
		if now := (stamped{p.t, math.Float64bits(p.v)}); !r.add(now) {
			s.again(r, now)
		} else if of.content {
			of.job.at(p.t).Add(of.key, p.v)
		} else if of.up && p.v == 0 {
			of.job.failed++
		}
		if of.sequence && !math.IsNaN(p.v) {
			of.job.arrive(int(p.v), Arrival{arrived, p.t})
		}
	}
	if waited > 0 {
		s.totals.Waited += waited
		s.totals.WaitedBytes += float64(wire) * float64(waited) / float64(len(s.dec.samples))
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// again counts a sample that is not newer than all before. s.mu is held.
func (s *Sink) again(r *recent, p stamped) {
	i := slices.IndexFunc(r.points, func(q stamped) bool { return q.t == p.t })
	switch {
	case i < 0:
		s.totals.OutOfOrder++
	case r.points[i].v != p.v:
		s.totals.Altered++
		fallthrough
	default:
		s.totals.Repeated++
	}
}

// Close stops the receiver.
func (s *Sink) Close() error { return s.Down() }
