// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// virtual is a receiver without a network, for tests with a virtual clock.
type virtual struct {
	receiver
	at    []time.Time                  // of each request
	delay func(size int) time.Duration // how long a request of that size takes
}

func newVirtual(answer func(n int, g *got) reply) *virtual {
	return &virtual{receiver: receiver{answer: answer, stored: map[point]int{}, newest: map[string]int64{}}}
}

func (v *virtual) RoundTrip(req *http.Request) (*http.Response, error) {
	httptrace.ContextClientTrace(req.Context()).GotConn(httptrace.GotConnInfo{})
	body, _ := io.ReadAll(req.Body)
	g, err := decode(req.Header.Get("Content-Type"), body)
	if err != nil {
		return nil, err
	}
	g.Header = req.Header.Clone()
	v.mu.Lock()
	delay := v.delay
	v.mu.Unlock()
	if delay != nil {
		select {
		case <-time.After(delay(len(body))):
		case <-req.Context().Done():
			v.at = append(v.at, time.Now())
			return nil, req.Context().Err()
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.at = append(v.at, time.Now())
	v.all = append(v.all, g)
	a := v.answer(len(v.all)-1, g)
	if a.Status == 0 {
		return nil, errors.New("connection cut")
	}
	if a.Status/100 == 2 && (g.Proto == V1 || parseWritten(a.Header).any) {
		v.store(g)
	}
	if a.Header == nil {
		a.Header = http.Header{}
	}
	return &http.Response{
		StatusCode: a.Status, Status: strconv.Itoa(a.Status), Header: a.Header,
		Body: io.NopCloser(strings.NewReader(a.Body)), Request: req,
	}, nil
}

// at2026 runs a test on a virtual clock that stands in 2026 or later.
func at2026(t *testing.T, f func(*testing.T)) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.UnixMilli(series.FirstTime).AddDate(0, 6, 0)))
		f(t)
	})
}

// start runs a sender until the test ends it.
func start(t *testing.T, o Options, q *queue, v *virtual) (*Sender, func()) {
	t.Helper()
	s, err := New(o, q.c)
	if err != nil {
		t.Fatal(err)
	}
	s.client.rt = v
	return s, running(t, s)
}

// running runs a sender until the function that it returns is called.
func running(t *testing.T, s *Sender) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	return func() {
		cancel()
		<-done
		synctest.Wait() // an attempt may have been left behind
	}
}

func usual(t *testing.T) Options {
	o := fast(t, "http://receiver.example/write")
	o.MinBackoff, o.MaxBackoff, o.Timeout = 500*time.Millisecond, time.Minute, 30*time.Second
	return o
}

// drained waits until nothing is left, at most that long.
func (q *queue) drained(t *testing.T, most time.Duration) {
	t.Helper()
	for began := time.Now(); q.c.Backlog().Samples > 0; time.Sleep(time.Second) {
		if time.Since(began) > most {
			t.Fatalf("after %s there still waits %+v", most, q.c.Backlog())
		}
	}
}

// TestRefusingKeepsTheBacklog: ten minutes of 401, 403, 404 or a redirect elsewhere
// with a day's backlog cost a scrape a MAX_BACKOFF, or none with hold.
func TestRefusingKeepsTheBacklog(t *testing.T) {
	for _, c := range []struct {
		status int
		proto  Protocol
		hold   bool
	}{{401, V2, false}, {403, V1, false}, {404, V2, false}, {302, V1, false}, {401, V1, true}, {404, V2, true}} {
		status, p, hold := c.status, c.proto, c.hold
		at2026(t, func(t *testing.T) {
			until := time.Now().Add(11 * time.Minute)
			v := newVirtual(func(n int, g *got) reply {
				if n > 0 && time.Now().Before(until) {
					return reply{Status: status}
				}
				return ok(g)
			})
			q := newQueue(t, 3)
			q.fill(t, 4*60*24)
			o := usual(t)
			o.Protocol, o.HoldOnAuthError = p, hold
			s, stop := start(t, o, q, v)
			defer stop()
			time.Sleep(10 * time.Minute)
			if st := s.Status(); st.State != StateRefusing {
				t.Errorf("%d: state %q", status, st.State)
			}
			q.drained(t, time.Hour)
			lost := q.c.Tally().Lost[series.Refused]
			if most := uint64(3 * 11); hold && lost != 0 || lost > most || !hold && lost == 0 {
				t.Errorf("%s %d hold=%v: %d samples lost, want at most %d", p, status, hold, lost, most)
			}
			// Which ones were lost is known: single scrapes, refused.
			gone := map[int64]bool{}
			for i, g := range v.all {
				if !hold && i > 0 && g.Scrapes == 1 && v.at[i].Before(until) {
					gone[g.Points[0].T] = true
				}
			}
			q.complete(t, &v.receiver, func(p point) bool { return gone[p.T] })
			q.balanced(t)
		})
	}
}

// TestPoison: a scrape that always gets 500 is dropped after an hour, and costs
// no other.
func TestPoison(t *testing.T) {
	for _, p := range []Protocol{V2, V1} {
		for _, nseries := range []int{10, 300} {
			at2026(t, func(t *testing.T) {
				var bad int64
				v := newVirtual(func(n int, g *got) reply {
					for _, p := range g.Points {
						if p.T == bad {
							return reply{Status: 500}
						}
					}
					return ok(g)
				})
				q := newQueue(t, nseries)
				q.fill(t, 30)
				bad = q.time
				q.fill(t, 30)
				o := usual(t)
				o.Protocol = p
				_, stop := start(t, o, q, v)
				defer stop()
				began := time.Now()
				q.drained(t, 3*time.Hour)
				if took := time.Since(began); took < time.Hour || took > 75*time.Minute {
					t.Errorf("it took %s, want an hour and a little", took)
				}
				if n := q.c.Tally().Lost[series.Poison]; n != uint64(nseries) {
					t.Errorf("%d samples counted as poison, want %d", n, nseries)
				}
				q.complete(t, &v.receiver, func(p point) bool { return p.T == bad })
				q.balanced(t)
			})
		}
	}
}

// TestOutageIsNoPoison: 5xx for hours, for every scrape, costs nothing.
func TestOutageIsNoPoison(t *testing.T) {
	at2026(t, func(t *testing.T) {
		until := time.Now().Add(3 * time.Hour)
		v := newVirtual(func(n int, g *got) reply {
			if time.Now().Before(until) {
				return reply{Status: 500}
			}
			return ok(g)
		})
		q := newQueue(t, 100)
		q.fill(t, 50)
		_, stop := start(t, usual(t), q, v)
		defer stop()
		q.drained(t, 4*time.Hour)
		q.complete(t, &v.receiver, nil)
		q.balanced(t)
	})
}

// TestSlowLink: 20,000 series over a link of 1 KB/s arrive, in pieces that fit
// into the timeout.
func TestSlowLink(t *testing.T) {
	at2026(t, func(t *testing.T) {
		v := newVirtual(func(n int, g *got) reply { return ok(g) })
		v.delay = func(size int) time.Duration { return time.Duration(size) * time.Millisecond }
		q := newQueue(t, 20_000)
		q.fill(t, 1)
		s, stop := start(t, usual(t), q, v)
		defer stop()
		began := time.Now()
		q.drained(t, 24*time.Hour)
		t.Logf("%s for %d bytes", time.Since(began), s.Status().WireBytes)
		q.complete(t, &v.receiver, nil)
		q.balanced(t)
	})
}

// TestPacing: an endpoint that accepts nothing is asked after 5 s, 10 s and so on,
// up to MAX_BACKOFF; the first refusal after an acceptance delays nothing.
func TestPacing(t *testing.T) {
	at2026(t, func(t *testing.T) {
		v := newVirtual(func(n int, g *got) reply {
			if n == 7 {
				return ok(g)
			}
			return reply{Status: 405}
		})
		q := newQueue(t, 1)
		q.fill(t, 12)
		o := usual(t)
		o.Protocol = V1
		_, stop := start(t, o, q, v)
		defer stop()
		q.drained(t, time.Hour)
		var gaps []time.Duration
		for i := 1; i < len(v.at); i++ {
			gaps = append(gaps, v.at[i].Sub(v.at[i-1]))
		}
		want := []time.Duration{5, 10, 20, 40, 60, 60, 60, 0, 0, 5, 10}
		for i := range min(len(want), len(gaps)) {
			if d := gaps[i] - want[i]*time.Second; d < 0 || d > time.Second {
				t.Errorf("gap %d is %s, want %d s (%v)", i, gaps[i], want[i], gaps)
			}
		}
	})
}
