// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"sync"
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// clocks are a wall clock that can be set, and the time that the process has run.
type clocks struct {
	mu   sync.Mutex
	wall time.Time
	run  time.Duration
}

func newClocks() *clocks { return &clocks{wall: time.UnixMilli(1_800_000_000_000)} }

func (c *clocks) options(o Options) Options {
	o.now, o.ran = c.now, c.ran
	return o
}

func (c *clocks) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wall
}

func (c *clocks) ran() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.run
}

// pass lets time pass while the process runs, off while it does not or the clock is set.
func (c *clocks) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall, c.run = c.wall.Add(d), c.run+d
}

func (c *clocks) off(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall = c.wall.Add(d)
}

// scrape appends a scrape of the wall clock's time, and lets time pass behind it.
func (c *clocks) scrape(t testing.TB, s *Spool, g *target, d time.Duration) *series.Scrape {
	t.Helper()
	sc := g.at(c.now().UnixMilli())
	mustAppend(t, s, sc)
	c.pass(d)
	return sc
}

const oneDay = 24 * time.Hour

// TestAgeByWrongClock: two days of backlog under a limit of seven stay whatever the
// clock says for a while, and go when they are too old, also if the host was off or
// suspended meanwhile.
func TestAgeByWrongClock(t *testing.T) {
	for name, tt := range map[string]struct {
		// restart ends the process in front of what happens.
		restart bool
		happens func(t *testing.T, c *clocks, scrape func())
		evicted bool
	}{
		"ahead for a scrape": {false, func(t *testing.T, c *clocks, scrape func()) {
			c.off(30 * oneDay)
			scrape()
			c.off(-30 * oneDay)
			scrape()
		}, false},
		"ahead for a scrape, then three hours": {false, func(t *testing.T, c *clocks, scrape func()) {
			c.off(30 * oneDay)
			scrape()
			c.off(-30 * oneDay)
			for range 6 {
				scrape()
			}
		}, false},
		"ahead for half an hour at a start": {true, func(t *testing.T, c *clocks, scrape func()) {
			c.off(30 * oneDay)
			scrape()
			c.off(-30 * oneDay)
			for range 6 {
				scrape()
			}
		}, false},
		"ahead again and again": {false, func(t *testing.T, c *clocks, scrape func()) {
			for range 10 {
				c.off(30 * oneDay)
				scrape()
				c.off(-30 * oneDay)
				scrape()
			}
		}, false},
		"1970 at a start, then set": {true, func(t *testing.T, c *clocks, scrape func()) {
			since := c.now().Sub(time.Unix(60, 0))
			c.off(-since)
			scrape()
			c.off(since)
			for range 6 {
				scrape()
			}
		}, false},
		"off for a month": {true, func(t *testing.T, c *clocks, scrape func()) {
			c.off(30 * oneDay)
			for range 6 {
				scrape()
			}
		}, true},
		"suspended for a month": {false, func(t *testing.T, c *clocks, scrape func()) {
			c.off(30 * oneDay)
			for range 6 {
				scrape()
			}
		}, true},
		"running for a month": {false, func(t *testing.T, c *clocks, scrape func()) {
			c.pass(30 * oneDay)
			scrape()
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := memoryDir(t)
			c := newClocks()
			o := c.options(Options{MaxAge: 7 * oneDay})
			s := mustOpen(t, dir, o)
			cur := mustClaim(t, s, "a")[0]
			g := newTarget(2)
			for range 96 {
				c.scrape(t, s, g, 30*time.Minute)
			}
			if tt.restart {
				closeSpool(t, s)
				s = mustOpen(t, dir, o)
				cur = mustClaim(t, s, "a")[0]
			}
			tt.happens(t, c, func() { c.scrape(t, s, g, 30*time.Minute) })
			n := cur.Tally().Lost[series.EvictedAge]
			if !tt.evicted && n != 0 {
				t.Errorf("%d samples of two days are evicted under a limit of seven", n)
			}
			// The newest segment stays in any case.
			if tt.evicted && n < 2*94 {
				t.Errorf("%d samples of %d are evicted", n, 2*96)
			}
			balanced(t, cur)
		})
	}
}

// TestUnclaimedByWrongClock: a cursor that no endpoint claims is kept for seven days of
// running, however the clock is set, and over restarts.
func TestUnclaimedByWrongClock(t *testing.T) {
	dir := memoryDir(t)
	c := newClocks()
	c.off(time.Unix(60, 0).Sub(c.now()))
	o := c.options(Options{})
	s := mustOpen(t, dir, o)
	mustClaim(t, s, "a", "b")
	g := newTarget(2)
	c.scrape(t, s, g, time.Minute)
	mustClaim(t, s, "a")
	c.off(time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC).Sub(c.now()))
	for d := range 7 {
		if len(s.Unclaimed()) != 1 {
			t.Fatalf("it is gone after %d days of running: removed %v", d, losses(s.Removed()))
		}
		c.pass(oneDay - time.Minute)
		c.scrape(t, s, g, 0)
		closeSpool(t, s)
		c.off(30 * oneDay)
		s = mustOpen(t, dir, o)
		mustClaim(t, s, "a")
		c.scrape(t, s, g, 0)
	}
	if len(s.Unclaimed()) != 1 {
		t.Fatalf("it is gone before seven days of running: removed %v", losses(s.Removed()))
	}
	c.pass(8 * time.Minute)
	c.scrape(t, s, g, 0)
	if got := s.Unclaimed(); len(got) != 0 {
		t.Errorf("after seven days of running it is still there: %+v", got)
	}
	if n := s.Removed().Lost[series.EndpointRemoved]; n == 0 {
		t.Error("nothing is counted as removed")
	}
}

// TestUnclaimedOverCrashes: a crash costs little of the time that was counted.
func TestUnclaimedOverCrashes(t *testing.T) {
	dir := memoryDir(t)
	c := newClocks()
	o := c.options(Options{})
	s := mustOpen(t, dir, o)
	mustClaim(t, s, "a", "b")
	mustClaim(t, s, "a")
	g := newTarget(2)
	for range 8 {
		for range 24 {
			c.pass(time.Hour)
			c.scrape(t, s, g, 0)
		}
		crash(t, s)
		s = mustOpen(t, dir, o)
		mustClaim(t, s, "a")
	}
	if got := s.Unclaimed(); len(got) != 0 {
		t.Errorf("after eight days of running it is still there: %+v", got)
	}
}
