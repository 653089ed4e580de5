// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

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
	offset time.Duration
	times  []int64
	dumps  []string
}

func newClocked(t *testing.T, o Options, answer func() (int, string)) *clocked {
	c := &clocked{}
	o.Target = "unix:///m.sock"
	// A bubble begins on 1 January 2000.
	c.offset = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC).Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))
	o.Now = func() time.Time { return time.Now().Add(c.offset) }
	s := newScraper(t, o)
	s.target.transport = &canned{answer}
	c.Loop = NewLoop(s)
	return c
}

func (c *clocked) add(sc *series.Scrape) error {
	c.times = append(c.times, sc.Time)
	c.dumps = append(c.dumps, dump(sc))
	return nil
}

// start runs the loop in the bubble and returns what stops it.
func (c *clocked) start(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- c.Run(ctx, c.add) }()
	return func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("run: %v", err)
		}
	}
}

func (c *clocked) onGrid(ms int64) bool {
	return (ms-c.phase.Milliseconds())%c.s.o.Interval.Milliseconds() == 0
}

func TestLoopGrid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClocked(t, Options{}, nil)
		begin := c.now()
		stop := c.start(t)
		time.Sleep(time.Minute)
		stop()
		if len(c.times) < 4 || len(c.times) > 6 {
			t.Fatalf("%d scrapes in a minute at 15 s", len(c.times))
		}
		if c.times[0] != begin.UnixMilli() {
			t.Errorf("first scrape at %d, want at once, %d", c.times[0], begin.UnixMilli())
		}
		for _, ms := range c.times[1:] {
			if !c.onGrid(ms) {
				t.Errorf("%d is off the grid", ms)
			}
		}
		time.Sleep(3 * time.Second)
		end := c.now().UnixMilli()
		if err := c.Finish(t.Context(), true, c.add); err != nil {
			t.Fatal(err)
		}
		if n := len(c.times); c.times[n-2] != end || c.times[n-1] != end+1 || !strings.HasPrefix(c.dumps[n-1], "a stale\nup 0\n") {
			t.Errorf("end: %v %s", c.times[n-2:], c.dumps[n-1])
		}
		if !slices.IsSorted(c.times) || len(slices.Compact(c.times)) != len(c.dumps) {
			t.Errorf("times do not grow: %v", c.times)
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
		if err := c.Finish(t.Context(), false, c.add); err != nil {
			t.Fatal(err)
		}
		n := len(c.dumps)
		if !strings.HasPrefix(c.dumps[n-2], "up 0\n") || !strings.HasSuffix(c.dumps[n-2], "\na stale\n") || !strings.HasPrefix(c.dumps[n-1], "up stale\n") {
			t.Errorf("%s", c.dumps[n-2:])
		}
	})
}

func TestLoopClock(t *testing.T) {
	const interval = 15 * time.Second
	tests := []struct {
		name  string
		step  time.Duration
		stats Stats
		// resume is when, by the old clock, the first scrape after the step comes.
		min, max time.Duration
		back     bool
	}{
		{"back a little", -20 * time.Second, Stats{ClockWaits: 1}, 5 * time.Second, 36 * time.Second, false},
		{"back two intervals", -29 * time.Second, Stats{ClockWaits: 1}, 10 * time.Second, 45 * time.Second, false},
		{"back an hour", -time.Hour, Stats{ClockSteps: 1}, 0, time.Second, true},
		{"ahead an hour", time.Hour, Stats{ClockJumps: 1}, 0, time.Second, false},
		{"ahead a little", 20 * time.Second, Stats{}, 0, time.Second, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClocked(t, Options{Interval: interval}, nil)
				stop := c.start(t)
				defer stop()
				time.Sleep(interval + interval/2)
				synctest.Wait()
				// Right after a scrape, so that the next one is an interval away.
				for n := len(c.times); n == len(c.times); synctest.Wait() {
					time.Sleep(100 * time.Millisecond)
				}
				n := len(c.times)
				before := time.Now()
				c.offset += tt.step
				for n == len(c.times) {
					time.Sleep(100 * time.Millisecond)
					synctest.Wait()
				}
				if d := time.Since(before); d < tt.min || d > tt.max {
					t.Errorf("next scrape after %s, want %s to %s", d, tt.min, tt.max)
				}
				if back := c.times[n] <= c.times[n-1]; back != tt.back {
					t.Errorf("times %v", c.times[n-1:])
				}
				st := c.s.Stats()
				got := Stats{ClockWaits: st.ClockWaits, ClockSteps: st.ClockSteps, ClockJumps: st.ClockJumps}
				if d := cmp.Diff(tt.stats, got); d != "" {
					t.Error(d)
				}
				time.Sleep(3 * interval)
				synctest.Wait()
				if last := c.times[len(c.times)-1]; !c.onGrid(last) || len(c.times) < n+3 {
					t.Errorf("not back on the grid: %v", c.times[n:])
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
				right := c.offset
				c.offset = -30 * 365 * 24 * time.Hour
				stop := c.start(t)
				defer stop()
				time.Sleep(5 * time.Minute)
				synctest.Wait()
				if len(c.times) != 0 {
					t.Fatalf("scraped at %v", c.times)
				}
				want := 5*time.Minute + time.Second
				if set {
					c.offset = right
					want = time.Second
				}
				time.Sleep(want)
				synctest.Wait()
				if len(c.times) == 0 {
					t.Error("scraping has not begun")
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
				synctest.Wait()
				first := time.UnixMilli(c.times[0]).Sub(began.Add(c.offset))
				if first != tt.first {
					t.Errorf("first scrape after %s, want %s", first, tt.first)
				}
				if held := c.s.Stats().Outcomes[HeldBack]; held != uint64(tt.first/time.Second) {
					t.Errorf("%d held back", held)
				}
				if len(c.times) < 2 || !strings.Contains(c.dumps[0], "up 1\n") || !strings.Contains(c.dumps[0], "series_added "+fmt.Sprint(strings.Count(c.dumps[0], "engine_daemon_"))) {
					t.Errorf("%q", c.dumps)
				}
			})
		})
	}
}

func TestNextTick(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		interval := time.Duration(rapid.Int64Range(1, 3_600_000).Draw(t, "interval")) * time.Millisecond
		phase := Phase("docker", rapid.String().Draw(t, "instance"), interval)
		at := time.UnixMilli(rapid.Int64Range(-1e12, 4e12).Draw(t, "at"))
		next := NextTick(at, interval, phase)
		if d := next.Sub(at); d <= 0 || d > interval {
			t.Fatalf("next after %s", d)
		}
		if (next.UnixMilli()-phase.Milliseconds())%interval.Milliseconds() != 0 {
			t.Fatalf("%s is off the grid", next)
		}
		if phase < 0 || phase >= interval {
			t.Fatalf("phase %s", phase)
		}
	})
}

// A fleet of hosts with consecutive names is spread evenly over the interval.
func TestPhaseSpread(t *testing.T) {
	var buckets [15]int
	const hosts = 15_000
	for i := range hosts {
		buckets[Phase("docker", fmt.Sprintf("host-%05d", i), 15*time.Second)/time.Second]++
	}
	for i, n := range buckets {
		if n < 850 || n > 1150 {
			t.Errorf("second %d has %d of %d hosts", i, n, hosts)
		}
	}
}
