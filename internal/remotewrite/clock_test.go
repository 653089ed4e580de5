// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

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
		q.time = series.FirstTime
		q.fill(t, 3)
		s, stop := start(t, usual(t), q, v)
		defer stop()
		time.Sleep(time.Hour)
		if st := s.Status(); st.State != StateClock || len(v.all) != 0 || q.c.Tally() != (series.Tally{}) {
			t.Errorf("state %q, %d requests, tally %+v", st.State, len(v.all), q.c.Tally())
		}
		// As when the time is set: the sender sleeps a second at a time until then.
		stop()
		time.Sleep(time.Until(time.UnixMilli(series.FirstTime).Add(time.Hour)))
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
		stale := s.req.newest
		s.step(t.Context())
		if s.req.newest == stale {
			t.Error("the request is as it was")
		}
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

// TestBackoff: no wait is longer than Max, nor than the larger of Min and a quarter of
// the time since the first failure; an acceptance ends that.
func TestBackoff(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		low := time.Duration(rapid.Int64Range(2, int64(time.Hour)).Draw(t, "min"))
		d := Delays{low, low + time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "more"))}
		var b Backoff
		now := time.Unix(1_800_000_000, 0)
		first, busy := now, false
		var wait time.Duration
		for range 60 {
			r := rapid.Float64Range(0, 0.9999).Draw(t, "random")
			overloaded := rapid.Bool().Draw(t, "429")
			b, wait = b.Failed(d, now, overloaded, func() float64 { return r })
			if busy && !overloaded {
				first = now // one thing is over and another begins
			}
			busy = overloaded
			most := min(max(now.Sub(first)/4, d.Min), d.Max)
			if wait > most || wait < d.Min/2 || !overloaded && wait < most/2 {
				t.Fatalf("min %s, max %s, %s after the first failure: %s", d.Min, d.Max, now.Sub(first), wait)
			}
			now = now.Add(wait + time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "attempt")))
		}
		b, _ = b.Failed(d, now, false, nil)
		if b, wait = b.Accepted(d, false, nil); wait != 0 || b != (Backoff{}) {
			t.Fatalf("after an acceptance %+v, and a wait of %s", b, wait)
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
