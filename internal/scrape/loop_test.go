// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// canned answers requests without a connection, so that a bubble's clock may run.
type canned struct{ answer func() (int, string) }

func (c *canned) RoundTrip(r *http.Request) (*http.Response, error) {
	code, body := 200, "a 1\n"
	if c.answer != nil {
		code, body = c.answer()
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: code,
		Header:     http.Header{"Content-Type": {typeText}},
		Body:       io.NopCloser(strings.NewReader(body)),
	}, nil
}

// clocked is a loop in a bubble whose wall clock can be set.
type clocked struct {
	*Loop
	offset atomic.Int64 // a time.Duration

	mu     sync.Mutex
	scrape []taken
}

type taken struct {
	t    int64
	dump string
}

func newClocked(t *testing.T, o Options, answer func() (int, string)) *clocked {
	c := &clocked{}
	o.Target = "unix:///m.sock"
	// A bubble begins on 1 January 2000.
	c.offset.Store(int64(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC).Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))))
	s := newScraper(t, o)
	s.target.client.Transport = &canned{answer}
	c.Loop = NewLoop(s, NewClock(s.o.Interval, func() time.Time { return time.Now().Round(0).Add(time.Duration(c.offset.Load())) }, s.o.Log))
	return c
}

func (c *clocked) add(sc *series.Scrape) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.scrape = append(c.scrape, taken{sc.Time, dump(sc)})
}

// take makes one scrape and appends it.
func (c *clocked) take(ctx context.Context, now time.Time) {
	if sc := c.Scrape(ctx, now, nil); sc != nil {
		c.add(sc)
		c.Appended(nil)
	}
}

// finish makes the last scrape and the end behind it.
func (c *clocked) finish(t *testing.T, down bool) {
	last := c.LastTime()
	c.take(t.Context(), last)
	if sc := c.End(last, down, false); sc != nil {
		c.add(sc)
	}
}

// seen waits until the loop sleeps and returns what it has appended.
func (c *clocked) seen() (times []int64, dumps []string) {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.scrape {
		times, dumps = append(times, s.t), append(dumps, s.dump)
	}
	return times, dumps
}

// start runs the loop in the bubble and returns what stops it.
func (c *clocked) start(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for now := range c.Times(ctx) {
			c.take(ctx, now)
		}
		if ctx.Err() == nil {
			t.Error("the times ended")
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

func (c *clocked) onGrid(ms int64) bool {
	return (ms-c.phase.Milliseconds())%c.s.o.Interval.Milliseconds() == 0
}

func TestLoopGrid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClocked(t, Options{}, nil)
		begin := c.clock.Now()
		stop := c.start(t)
		time.Sleep(time.Minute)
		stop()
		times, _ := c.seen()
		if len(times) < 4 || len(times) > 6 {
			t.Fatalf("%d scrapes in a minute at 15 s", len(times))
		}
		if times[0] != begin.UnixMilli() {
			t.Errorf("first scrape at %d, want at once, %d", times[0], begin.UnixMilli())
		}
		for _, ms := range times[1:] {
			if !c.onGrid(ms) {
				t.Errorf("%d is off the grid", ms)
			}
		}
		time.Sleep(3 * time.Second)
		end := c.clock.Now().UnixMilli()
		c.finish(t, true)
		times, dumps := c.seen()
		if n := len(times); times[n-2] != end || times[n-1] != end+1 || !strings.HasPrefix(dumps[n-1], "a stale\nup 0\n") {
			t.Errorf("end: %v %s", times[n-2:], dumps[n-1])
		}
		if !slices.IsSorted(times) || len(slices.Compact(times)) != len(dumps) {
			t.Errorf("times do not grow: %v", times)
		}
	})
}

// Run again, or finished, after the clock was set back a little, the loop's times
// still grow.
func TestLoopAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClocked(t, Options{}, nil)
		stop := c.start(t)
		synctest.Wait()
		stop()
		c.offset.Add(int64(-10 * time.Second))
		stop = c.start(t)
		if times, _ := c.seen(); len(times) != 1 {
			t.Errorf("did not wait: %v", times)
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		stop()
		c.offset.Add(int64(-10 * time.Second))
		c.finish(t, false)
		times, _ := c.seen()
		if len(times) != 4 || !slices.IsSorted(times) || times[3] != times[2]+1 {
			t.Errorf("times %v", times)
		}
		if st := c.clock.Stats(); st.Waits != 1 || st.Steps != 0 {
			t.Errorf("%+v", st)
		}
	})
}

func TestLoopFinishWithTargetGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		code := 200
		c := newClocked(t, Options{}, func() (int, string) { return code, "a 1\n" })
		stop := c.start(t)
		synctest.Wait()
		stop()
		code = 503
		c.finish(t, false)
		_, dumps := c.seen()
		n := len(dumps)
		if !strings.HasPrefix(dumps[n-2], "up 0\n") || !strings.HasSuffix(dumps[n-2], "\na stale\n") || !strings.HasPrefix(dumps[n-1], "up stale\n") {
			t.Errorf("%s", dumps[n-2:])
		}
	})
}

func TestLoopClock(t *testing.T) {
	const interval = 15 * time.Second
	tests := []struct {
		name  string
		step  time.Duration
		stats ClockStats
		// resume is when, by the old clock, the first scrape after the step comes.
		min, max time.Duration
		back     bool
	}{
		{"back a little", -20 * time.Second, ClockStats{Waits: 1}, 5 * time.Second, 36 * time.Second, false},
		{"back two intervals", -29 * time.Second, ClockStats{Waits: 1}, 10 * time.Second, 45 * time.Second, false},
		{"back an hour", -time.Hour, ClockStats{Steps: 1}, 0, time.Second, true},
		{"ahead an hour", time.Hour, ClockStats{Jumps: 1}, 0, time.Second, false},
		{"ahead a little", 20 * time.Second, ClockStats{}, 0, time.Second, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClocked(t, Options{Interval: interval}, nil)
				stop := c.start(t)
				defer stop()
				time.Sleep(interval + interval/2)
				// Right after a scrape, so that the next one is an interval away.
				next := func() (times []int64) {
					times, _ = c.seen()
					for n := len(times); n == len(times); times, _ = c.seen() {
						time.Sleep(100 * time.Millisecond)
					}
					return times
				}
				n := len(next())
				before := time.Now()
				c.offset.Add(int64(tt.step))
				times := next()
				if d := time.Since(before); d < tt.min || d > tt.max {
					t.Errorf("next scrape after %s, want %s to %s", d, tt.min, tt.max)
				}
				if back := times[n] <= times[n-1]; back != tt.back {
					t.Errorf("times %v", times[n-1:])
				}
				if d := cmp.Diff(tt.stats, c.clock.Stats()); d != "" {
					t.Error(d)
				}
				time.Sleep(3 * interval)
				times, _ = c.seen()
				if last := times[len(times)-1]; !c.onGrid(last) || len(times) < n+3 {
					t.Errorf("not back on the grid: %v", times[n:])
				}
			})
		})
	}
}

func TestLoopUnsetClock(t *testing.T) {
	for _, set := range []bool{true, false} {
		t.Run(fmt.Sprint(set), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClocked(t, Options{}, nil)
				right := c.offset.Swap(int64(-30 * 365 * 24 * time.Hour))
				stop := c.start(t)
				defer stop()
				time.Sleep(5 * time.Minute)
				if times, _ := c.seen(); len(times) != 0 {
					t.Fatalf("scraped at %v", times)
				}
				if w := c.clock.Stats().Waiting; !strings.Contains(w, "clock") {
					t.Errorf("waiting for %q", w)
				}
				want := 5*time.Minute + time.Second
				if set {
					c.offset.Store(right)
					want = time.Second
				}
				time.Sleep(want)
				if times, _ := c.seen(); len(times) == 0 {
					t.Error("scraping has not begun")
				}
				if w := c.clock.Stats().Waiting; w != "" {
					t.Errorf("scraped, and still waiting for %q", w)
				}
			})
		})
	}
}

func TestLoopHoldBack(t *testing.T) {
	const booting = "engine_daemon_engine_cpus_cpus 0\n"
	const ready = "engine_daemon_engine_cpus_cpus 2\nengine_daemon_engine_info{version=\"x\"} 1\n"
	for _, tt := range []struct {
		name         string
		ready, first time.Duration
	}{
		{"ready at once", 0, 0},
		{"ready after 5 s", 5 * time.Second, 5 * time.Second},
		{"never ready", time.Hour, 30 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				c := newClocked(t, Options{HoldBack: 30 * time.Second}, func() (int, string) {
					if time.Since(began) < tt.ready {
						return 200, booting
					}
					return 200, ready
				})
				stop := c.start(t)
				defer stop()
				time.Sleep(time.Minute)
				times, dumps := c.seen()
				first := time.UnixMilli(times[0]).Sub(began.Add(time.Duration(c.offset.Load())))
				if first != tt.first {
					t.Errorf("first scrape after %s, want %s", first, tt.first)
				}
				if held := c.s.Stats().Outcomes[HeldBack]; held != uint64(tt.first/time.Second) {
					t.Errorf("%d held back", held)
				}
				added := "series_added " + fmt.Sprint(strings.Count(dumps[0], "engine_daemon_"))
				if len(times) < 2 || !strings.Contains(dumps[0], "up 1\n") || !strings.Contains(dumps[0], added) {
					t.Errorf("%q", dumps)
				}
			})
		})
	}
}
