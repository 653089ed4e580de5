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
	t.Rejected -= o.Rejected
	t.Malformed -= o.Malformed
	return t
}

// recent are the times of a series' newest samples, so that one that comes again
// is told from one that comes late.
type recent struct {
	times []int64
	at    int // where the next goes once there are enough
	last  int64
}

const recentTimes = 256

// add takes a time that is newer than all before, and reports whether it is.
func (r *recent) add(t int64) bool {
	if len(r.times) > 0 && t <= r.last {
		return false
	}
	r.last = t
	if len(r.times) < recentTimes {
		r.times = append(r.times, t)
		return true
	}
	r.times[r.at] = t
	r.at = (r.at + 1) % recentTimes
	return true
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
	arrived map[int]time.Time
	resumed time.Time
	changed chan struct{}
}

// New starts a receiver on a free loopback port, over TLS unless cfg is nil.
// sequence is the name of the series whose values number the scrapes.
func New(sequence string, cfg *tls.Config) (*Sink, error) {
	s := &Sink{
		Addr: "127.0.0.1:0", tls: cfg,
		recent: map[uint64]*recent{}, arrived: map[int]time.Time{},
		dec:     decoder{seed: maphash.MakeSeed(), name: sequence},
		changed: make(chan struct{}),
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
	s.status, s.resumed = 0, time.Time{}
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
		s.resumed = time.Time{}
	}
	s.status = status
}

// Totals are the counts so far.
func (s *Sink) Totals() Totals {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.totals
}

// Resumed is when the first request was accepted since the start, Up or Fail(0).
func (s *Sink) Resumed() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resumed
}

// Arrived is when the scrape with that sequence number came in first.
func (s *Sink) Arrived(sequence int) (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.arrived[sequence]
	return t, ok
}

// Missing counts the sequence numbers from..to that have not arrived.
func (s *Sink) Missing(from, to int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for i := from; i <= to; i++ {
		if _, ok := s.arrived[i]; !ok {
			n++
		}
	}
	return n
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
	s.dec.samples = s.dec.samples[:0]
	raw, err := snappy.Decode(nil, body)
	if err == nil && two {
		err = s.dec.v2(raw)
	} else if err == nil {
		err = s.dec.v1(raw)
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
	now := time.Now()
	s.totals.Requests++
	s.totals.Bytes += wire
	s.totals.Samples += len(s.dec.samples)
	if s.resumed.IsZero() && len(s.dec.samples) > 0 {
		s.resumed = now
	}
	var r *recent
	for i, p := range s.dec.samples {
		if i == 0 || p.key != s.dec.samples[i-1].key {
			if r = s.recent[p.key]; r == nil {
				r = &recent{}
				s.recent[p.key] = r
			}
		}
		switch {
		case r.add(p.t):
		case slices.Contains(r.times, p.t):
			s.totals.Repeated++
		default:
			s.totals.OutOfOrder++
		}
		if p.sequence && !math.IsNaN(p.v) {
			if _, ok := s.arrived[int(p.v)]; !ok {
				s.arrived[int(p.v)] = now
			}
		}
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// Close stops the receiver.
func (s *Sink) Close() error { return s.Down() }
