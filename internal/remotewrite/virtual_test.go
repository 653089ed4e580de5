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

	"pgregory.net/rapid"

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
		time.Sleep(time.Until(clockSet.AddDate(0, 6, 0)))
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
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	return s, func() { cancel(); <-done }
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

// TestMergesLive: with BATCH_SEND_DEADLINE=1m four scrapes leave together, and none
// waits longer than that.
func TestMergesLive(t *testing.T) {
	at2026(t, func(t *testing.T) {
		v := newVirtual(func(n int, g *got) reply { return ok(g) })
		q := newQueue(t, 5)
		o := usual(t)
		o.Deadline = time.Minute
		_, stop := start(t, o, q, v)
		defer stop()
		q.time = time.Now().UnixMilli() - 15_000
		for range 41 {
			q.fill(t, 1)
			time.Sleep(15 * time.Second)
		}
		time.Sleep(time.Minute)
		q.complete(t, &v.receiver, nil)
		for i, g := range v.all {
			oldest := g.Points[0].T
			if age := v.at[i].Sub(time.UnixMilli(oldest)); age > 61*time.Second {
				t.Errorf("request %d has a scrape that waited %s", i, age)
			}
			if i > 1 && i < len(v.all)-1 && (g.Scrapes < 4 || g.Scrapes > 5) {
				t.Errorf("request %d carries %d scrapes, want 4", i, g.Scrapes)
			}
		}
	})
}

// TestRateLimit: catching up keeps to MAX_SAMPLES_PER_SECOND.
func TestRateLimit(t *testing.T) {
	at2026(t, func(t *testing.T) {
		v := newVirtual(func(n int, g *got) reply { return ok(g) })
		q := newQueue(t, 100)
		q.fill(t, 600)
		o := usual(t)
		o.RateLimit, o.MaxSamples = 1000, 5000
		_, stop := start(t, o, q, v)
		defer stop()
		began := time.Now()
		q.drained(t, time.Hour)
		if took := time.Since(began); took < 54*time.Second || took > 70*time.Second {
			t.Errorf("60,000 samples at 1,000 a second took %s", took)
		}
	})
}

// TestReceiverChanges: a receiver that loses 2.0 and finds it again, in each way
// that receivers say so, loses nothing and gets nothing out of order.
func TestReceiverChanges(t *testing.T) {
	for name, no := range map[string]func() reply{
		"415":                 func() reply { return reply{Status: 415} },
		"204 without Written": func() reply { return reply{Status: 204} },
	} {
		t.Run(name, func(t *testing.T) {
			at2026(t, func(t *testing.T) {
				only1, only2 := false, false
				v := newVirtual(func(n int, g *got) reply {
					switch {
					case only1 && g.Proto == V2:
						return no()
					case only2 && g.Proto == V1:
						return reply{Status: 415}
					}
					return ok(g)
				})
				q := newQueue(t, 10)
				s, stop := start(t, usual(t), q, v)
				defer stop()
				use := func(only bool, want Protocol, d time.Duration) {
					t.Helper()
					for range 20 {
						q.fill(t, 3)
						time.Sleep(d / 20)
					}
					if got := s.Status().Protocol; got != want {
						t.Errorf("protocol %s in use, want %s", got, want)
					}
				}
				use(false, V2, time.Minute)
				only1 = true
				use(true, V1, 5*time.Hour)
				only1 = false
				use(false, V2, 2*time.Hour)
				only1 = true
				use(true, V1, time.Hour)
				only1, only2 = false, true
				use(true, V2, time.Minute)
				q.drained(t, time.Minute)
				q.complete(t, &v.receiver, nil)
				q.balanced(t)
			})
		})
	}
}

// TestFuture: what is stamped more than two minutes ahead is dropped and counted,
// and keeps nothing else.
func TestFuture(t *testing.T) {
	at2026(t, func(t *testing.T) {
		v := newVirtual(func(n int, g *got) reply {
			for _, p := range g.Points {
				if p.T > time.Now().Add(maxAhead).UnixMilli() {
					t.Errorf("sent a sample %s ahead", time.Until(time.UnixMilli(p.T)))
				}
			}
			return ok(g)
		})
		q := newQueue(t, 4)
		q.time = time.Now().UnixMilli() - 60_000
		q.fill(t, 3)
		q.time += (10 * time.Minute).Milliseconds()
		q.fill(t, 5)
		var log *syncBuffer
		o := usual(t)
		l, log := logged()
		o.Log = l
		_, stop := start(t, o, q, v)
		defer stop()
		q.drained(t, time.Minute)
		if n := q.c.Tally().Lost[series.Future]; n != 20 {
			t.Errorf("%d samples counted as future, want 20", n)
		}
		if !strings.Contains(log.String(), "ahead of the clock") {
			t.Errorf("the log does not tell: %s", log)
		}
		q.balanced(t)
	})
}

// TestClockNotSet: with a clock before 2026 samples with a right time wait for it,
// and the status says so.
func TestClockNotSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVirtual(func(n int, g *got) reply { return ok(g) })
		q := newQueue(t, 4)
		q.time = clockSet.UnixMilli()
		q.fill(t, 3)
		s, stop := start(t, usual(t), q, v)
		defer stop()
		time.Sleep(time.Hour)
		if st := s.Status(); st.State != StateClock || len(v.all) != 0 || q.c.Tally() != (series.Tally{}) {
			t.Errorf("state %q, %d requests, tally %+v", st.State, len(v.all), q.c.Tally())
		}
		// As when the time is set: the sender sleeps a second at a time until then.
		stop()
		time.Sleep(time.Until(clockSet.Add(time.Hour)))
		if err := s.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		q.complete(t, &v.receiver, nil)
		q.balanced(t)
	})
}

// TestClockSetBack: a request that waits to be sent again is looked at anew when
// the clock was set back in between.
func TestClockSetBack(t *testing.T) {
	at2026(t, func(t *testing.T) {
		v := newVirtual(func(n int, g *got) reply {
			if n == 0 {
				return reply{Status: 503}
			}
			return ok(g)
		})
		q := newQueue(t, 4)
		q.fill(t, 1)
		s, err := New(usual(t), q.c)
		if err != nil {
			t.Fatal(err)
		}
		s.client.rt = v
		s.step(t.Context())
		// What is in the request does not change, its distance to the clock does.
		s.req.newest = time.Now().Add(maxAhead).UnixMilli()
		s.step(t.Context())
		if len(v.all) != 1 || s.req != nil {
			t.Errorf("%d requests were sent, %v is to be sent again", len(v.all), s.req)
		}
		s.step(t.Context())
		q.complete(t, &v.receiver, nil)
		q.balanced(t)
	})
}

// TestSuspended: what the machine slept through counts as waited, what the clock
// was set back does not prolong a wait.
func TestSuspended(t *testing.T) {
	now := time.Now()
	for _, c := range []struct{ awake, byClock, gone time.Duration }{
		{time.Second, time.Second, 0},
		{time.Second, 8 * time.Hour, 8*time.Hour - time.Second},
		{time.Second, -8 * time.Hour, 0},
		{time.Second, 1500 * time.Millisecond, 0},
	} {
		s := Sender{retryAt: now, arrived: now}
		s.slept(c.awake, c.byClock)
		if got := now.Sub(s.retryAt); got != c.gone || !s.arrived.Equal(s.retryAt) {
			t.Errorf("awake %s, by the clock %s: %s counted, want %s", c.awake, c.byClock, got, c.gone)
		}
	}
}

// TestFlushIsBounded: a flush skips an endpoint that backs off, and ends with its
// context where a receiver hangs.
func TestFlushIsBounded(t *testing.T) {
	at2026(t, func(t *testing.T) {
		v := newVirtual(func(n int, g *got) reply { return reply{Status: 503} })
		q := newQueue(t, 4)
		q.fill(t, 1)
		o := usual(t)
		o.MinBackoff = 30 * time.Second
		s, stop := start(t, o, q, v)
		time.Sleep(time.Second)
		if err := s.Flush(t.Context()); !errors.Is(err, ErrBackingOff) {
			t.Errorf("flush of an endpoint that backs off: %v", err)
		}
		v.mu.Lock()
		v.delay = func(int) time.Duration { return time.Hour }
		v.mu.Unlock()
		time.Sleep(time.Minute)
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if err := s.Flush(ctx); err == nil {
			t.Error("flush into a hanging receiver has no error")
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("flush took %s", took)
		}
		stop()
		if err := s.Flush(ctx); err == nil {
			t.Error("flush with an ended context has no error")
		}
		if q.c.Backlog().Samples != 4 {
			t.Errorf("there waits %+v", q.c.Backlog())
		}
	})
}

// TestBackoff: delays grow from Min, are stretched by no more than their own
// length, and never exceed Max.
func TestBackoff(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		low := time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "min"))
		high := low + time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "more"))
		b := Backoff{Min: low, Max: high}
		base := low
		for range 40 {
			r := rapid.Float64Range(0, 0.9999).Draw(t, "random")
			d := b.Next(func() float64 { return r })
			if d > high || d < min(base, max(high/2, low)) || d > 2*base {
				t.Fatalf("min %s, max %s, base %s: %s", low, high, base, d)
			}
			base = min(2*base, high)
		}
		b.Reset()
		if d := b.Next(func() float64 { return 0 }); d != low {
			t.Fatalf("after a reset %s, want %s", d, low)
		}
	})
}

func TestPace(t *testing.T) {
	for _, c := range []struct {
		n    int
		rate float64
		want time.Duration
	}{{1000, 500, 2 * time.Second}, {1000, 0, 0}, {0, 5, 0}, {1, 1000, time.Millisecond}} {
		if got := Pace(c.n, c.rate); got != c.want {
			t.Errorf("%d samples at %v a second: %s, want %s", c.n, c.rate, got, c.want)
		}
	}
}
