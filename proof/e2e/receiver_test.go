// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// receiver is the embedded Prometheus, with what came to it.
type receiver struct {
	*promtest.Server
	t       *testing.T
	arrived chan struct{} // holds one token after a request
	storing sync.RWMutex  // is held for reading by what is stored and not yet noted

	mu       sync.Mutex
	requests []*promtest.Request
	fault    func(http.ResponseWriter, *http.Request) bool // true: it has answered
}

func newReceiver(t *testing.T, o promtest.Options) *receiver {
	t.Helper()
	r := &receiver{t: t, arrived: make(chan struct{}, 1)}
	o.OnRequest = func(q *promtest.Request) {
		r.mu.Lock()
		r.requests = append(r.requests, q)
		r.mu.Unlock()
		select {
		case r.arrived <- struct{}{}:
		default:
		}
	}
	o.Middleware = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			r.mu.Lock()
			fault := r.fault
			r.mu.Unlock()
			if fault == nil || !fault(w, q) {
				r.storing.RLock()
				defer r.storing.RUnlock()
				next.ServeHTTP(w, q)
			}
		})
	}
	var err error
	if r.Server, err = promtest.Start(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// setFault makes the receiver misbehave; nil mends it.
func (r *receiver) setFault(f func(http.ResponseWriter, *http.Request) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault = f
}

// refuseAll answers every request with that status.
func refuseAll(status int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, "no", status)
		return true
	}
}

// hangAll answers nothing until its client gives up.
func hangAll(_ http.ResponseWriter, q *http.Request) bool {
	_, _ = io.Copy(io.Discard, q.Body) // only then a client that goes away is noticed
	<-q.Context().Done()
	return true
}

// got are the requests that were answered, among them all whose samples can be seen.
func (r *receiver) got() []*promtest.Request {
	r.storing.Lock()
	defer r.storing.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

// await waits, from request to request, until the condition holds.
func (r *receiver) await(what string, cond func() bool) {
	r.t.Helper()
	limit := time.After(90 * time.Second)
	for !cond() {
		select {
		case <-r.arrived:
		case <-limit:
			r.t.Fatalf("waited in vain for %s", what)
		}
	}
}

const upSelector = `up{job="docker"}`

// ups are the samples of up, in the order of time.
func (r *receiver) ups() []promtest.Sample {
	r.t.Helper()
	c, err := r.Samples(r.t.Context(), upSelector, time.Time{}, time.Time{})
	if err != nil {
		r.t.Fatal(err)
	}
	var out []promtest.Sample
	for _, s := range c {
		out = append(out, s...)
	}
	return slices.DeleteFunc(out, promtest.Sample.Stale)
}

// up waits for up to have that value in a scrape made after t, and returns it.
func (r *receiver) up(value float64, after time.Time) promtest.Sample {
	r.t.Helper()
	var found promtest.Sample
	r.await(fmt.Sprintf("up %v", value), func() bool {
		for _, s := range r.ups() {
			if s.V == value && s.T > after.UnixMilli() {
				found = s
				return true
			}
		}
		return false
	})
	return found
}

// alive waits for the first scrape after an event and prints how long it took.
func (r *receiver) alive(what string, event time.Time) {
	r.t.Helper()
	r.up(1, event)
	tell(r.t, "%s: first new sample after %v", what, time.Since(event).Round(time.Millisecond))
}

// window is a time in which scrapes may be missing: from the event to the
// recovery, and an interval before it, for the scrape that was in progress.
type window struct{ from, to time.Time }

// noLoss holds the sequence of scrapes to its grid: outside the windows no two
// are further apart than the interval, with room for a late one.
func (r *receiver) noLoss(interval time.Duration, windows ...window) {
	r.t.Helper()
	ups := r.ups()
	for i := 1; i < len(ups); i++ {
		a, b := time.UnixMilli(ups[i-1].T), time.UnixMilli(ups[i].T)
		if b.Sub(a) <= interval+interval/2 {
			continue
		}
		if !slices.ContainsFunc(windows, func(w window) bool {
			return !a.Before(w.from.Add(-interval-interval/2)) && !b.After(w.to.Add(interval+interval/2))
		}) {
			r.t.Errorf("scrapes are missing between %v and %v (%v)", a.Format("05.000"), b.Format("05.000"), b.Sub(a))
		}
	}
	if len(ups) == 0 {
		r.t.Error("no scrape arrived")
	}
}
