// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

func segments(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, dirName(0), "*"+segmentSuffix))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func TestTwoEndpointsOneDeadForAnHour(t *testing.T) {
	dir := memoryDir(t)
	s := mustOpen(t, dir, Options{})
	cs := mustClaim(t, s, "live", "dead")
	g := newTarget(20)
	var all []*series.Scrape
	for range 2 * 240 {
		sc := g.next()
		all = append(all, sc)
		mustAppend(t, s, sc)
		if got := drain(t, cs[0], Limits{}); len(got) != 20 {
			t.Fatalf("the live endpoint gets %d series of a scrape as it comes", len(got))
		}
	}
	if n := len(segments(t, dir)); n != 2 {
		t.Errorf("%d segments for two hours", n)
	}
	same(t, drain(t, cs[1], Limits{Samples: 333}), want(all...))
	balanced(t, cs...)
	// What both have acknowledged goes with the next round.
	mustAppend(t, s, g.next())
	waitFor(t, s, func() bool { return len(s.log.segs) == 1 && len(s.log.trash) == 0 })
	for _, c := range cs {
		if tally := c.Tally(); tally.Sum() != tally.Delivered {
			t.Errorf("%s lost %v", c.Name(), losses(tally))
		}
	}
}

func TestCapBySize(t *testing.T) {
	dir := memoryDir(t)
	s := mustOpen(t, dir, Options{MaxBytes: 64 << 10})
	cs := mustClaim(t, s, "live", "dead")
	g := newTarget(50)
	for range 3000 {
		mustAppend(t, s, g.next())
		drain(t, cs[0], Limits{})
	}
	closeSpool(t, s)
	var size int64
	for _, e := range ls(t, filepath.Join(dir, dirName(0))) {
		i, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		size += i.Size()
	}
	if size > 64<<10 || size < 32<<10 {
		t.Errorf("%d bytes on disk, the cap is %d", size, 64<<10)
	}
	s = mustOpen(t, dir, Options{MaxBytes: 64 << 10})
	cs = mustClaim(t, s, "live", "dead")
	drain(t, cs[1], Limits{})
	balanced(t, cs...)
	if tally := cs[0].Tally(); tally.Delivered != 150_000 {
		t.Errorf("the live endpoint: %+v", tally)
	}
	tally := cs[1].Tally()
	if tally.Lost[series.EvictedSize] == 0 || tally.Sum() != tally.Delivered+tally.Lost[series.EvictedSize] || tally.Sum() != 150_000 {
		t.Errorf("the dead endpoint: delivered %d, lost %v", tally.Delivered, losses(tally))
	}
}

func ls(t testing.TB, dir string) []os.DirEntry {
	t.Helper()
	es, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return es
}

func TestCapByAge(t *testing.T) {
	clock := newClocks()
	s := mustOpen(t, memoryDir(t), clock.options(Options{MaxAge: 3 * segmentAge}))
	c := mustClaim(t, s, "dead")[0]
	g := newTarget(5)
	for range 10 * 240 {
		clock.pass(15 * time.Second)
		mustAppend(t, s, g.next())
	}
	waitFor(t, s, func() bool { return len(s.log.trash) == 0 })
	b := c.Backlog()
	if b.Scrapes < 3*240 || b.Scrapes > 5*240 {
		t.Errorf("%d scrapes are kept, of 3 hours", b.Scrapes)
	}
	if n := c.Tally().Lost[series.EvictedAge]; n != 5*(2400-b.Scrapes) {
		t.Errorf("%d samples are lost to age, %d scrapes are kept", n, b.Scrapes)
	}
	if age := g.time - b.Oldest; age > 5*segmentAge.Milliseconds() || age < 3*segmentAge.Milliseconds()-15_000 {
		t.Errorf("the oldest scrape is %d ms old", age)
	}
	balanced(t, c)
}

// TestEvictedInFlight: what an attempt has begun with stays until its end, however old
// it gets, and goes then.
func TestEvictedInFlight(t *testing.T) {
	for name, tt := range map[string]struct{ begun, settled bool }{
		"delivered": {true, true}, "not settled": {true, false}, "read only": {false, false},
	} {
		t.Run(name, func(t *testing.T) {
			clock := newClocks()
			s := mustOpen(t, memoryDir(t), clock.options(Options{MaxAge: segmentAge}))
			c := mustClaim(t, s, "a")[0]
			g := newTarget(5)
			for range 100 {
				clock.pass(15 * time.Second)
				mustAppend(t, s, g.next())
			}
			var b series.Batch
			if err := c.Read(ctx(), &b, c.Position(), Limits{Samples: 52}); err != nil {
				t.Fatal(err)
			}
			if tt.begun {
				if err := begin(c, b.To); err != nil {
					t.Fatal(err)
				}
			}
			for range 5 {
				g.time += segmentAge.Milliseconds()
				clock.pass(segmentAge)
				mustAppend(t, s, g.next())
			}
			waitFor(t, s, func() bool { return tt.begun || len(s.log.segs) < 4 && len(s.log.trash) == 0 })
			balanced(t, c)
			n := c.Tally().Lost[series.EvictedAge]
			if tt.begun && n > 0 || !tt.begun && n < 500 {
				t.Errorf("%d samples are lost while a request is in flight", n)
			}
			err := error(nil)
			if tt.settled || !tt.begun {
				err = c.Ack(ctx(), b.From, b.To, series.Tally{Delivered: 52}, Note{})
			}
			if moved := errors.Is(err, ErrMoved); moved == tt.begun || !moved && err != nil {
				t.Errorf("acknowledging says %v", err)
			}
			c.End()
			waitFor(t, s, func() bool { return len(s.log.segs) < 4 && len(s.log.trash) == 0 })
			balanced(t, c)
			drain(t, c, Limits{})
			balanced(t, c)
			tally := c.Tally()
			if tally.Sum() != 525 || tally.Lost[series.EvictedAge]+tally.Delivered != 525 || tt.settled && tally.Delivered < 52 {
				t.Errorf("delivered %d, lost %v", tally.Delivered, losses(tally))
			}
		})
	}
}

// TestBacklogOfHalfARequest: what a request has begun with stays while it is under way,
// and goes when the receiver asks for less of it. What waits is a number that is right
// all along, also within a scrape.
func TestBacklogOfHalfARequest(t *testing.T) {
	clock := newClocks()
	s := mustOpen(t, memoryDir(t), clock.options(Options{MaxAge: 90 * time.Minute}))
	c := mustClaim(t, s, "a")[0]
	g := newTarget(4)
	for range 100 {
		clock.scrape(t, s, g, 15*time.Second)
	}
	drain(t, c, Limits{})
	clock.pass(2 * time.Hour)
	for range 5 {
		clock.scrape(t, s, g, 10*time.Minute)
	}
	waits := func(scrapes, samples uint64) {
		t.Helper()
		if got := c.Backlog(); got.Scrapes != scrapes || got.Samples != samples {
			t.Errorf("%d scrapes and %d samples wait at %v, want %d and %d", got.Scrapes, got.Samples, c.Position(), scrapes, samples)
		}
		balanced(t, c)
	}
	var b series.Batch
	if err := c.Read(ctx(), &b, c.Position(), Limits{Scrapes: 2}); err != nil {
		t.Fatal(err)
	}
	if err := begin(c, b.To); err != nil {
		t.Fatal(err)
	}
	clock.pass(4 * time.Hour)
	for range 3 {
		clock.scrape(t, s, g, time.Minute)
	}
	waits(8, 32)
	c.End()
	if n := c.Tally().Lost[series.EvictedAge]; n != 20 {
		t.Fatalf("%d samples are evicted behind the request, want 20", n)
	}
	for left := uint64(12); ; left -= 2 {
		waits((left+3)/4, left)
		if left == 0 {
			break
		}
		if err := c.Read(ctx(), &b, c.Position(), Limits{Samples: 2}); err != nil {
			t.Fatal(err)
		}
		if err := begin(c, b.To); err != nil {
			t.Fatal(err)
		}
		if err := ack(c, b.To, series.Tally{Delivered: uint64(b.Samples), Lost: b.Lost}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTallyThatDoesNotAddUp(t *testing.T) {
	s := mustOpen(t, memoryDir(t), Options{})
	c := mustClaim(t, s, "a")[0]
	g := newTarget(5)
	for range 10 {
		mustAppend(t, s, g.next())
	}
	if err := ack(c, series.Position{Scrape: 3, Count: 10}, series.Tally{Delivered: 7}); err == nil {
		t.Error("three samples are left out without an error")
	}
	if err := ack(c, series.Position{Scrape: 5, Count: 20}, series.Tally{Delivered: 12}); err == nil {
		t.Error("two samples too many without an error")
	}
	if err := ack(c, series.Position{Scrape: 4, Count: 15}, series.Tally{}); err == nil {
		t.Error("a step back without an error")
	}
	balanced(t, c)
	if tally := c.Tally(); tally.Delivered != 17 || tally.Lost[series.Unreadable] != 3 {
		t.Errorf("%+v", tally)
	}
}

func TestClockSetBack(t *testing.T) {
	for name, fromDisk := range map[string]bool{"from memory": false, "from disk": true} {
		t.Run(name, func(t *testing.T) {
			dir := memoryDir(t)
			s := mustOpen(t, dir, Options{})
			c := mustClaim(t, s, "a")[0]
			g := newTarget(3)
			var times []int64
			for i := range 9 {
				sc := g.next()
				if i == 4 {
					sc = g.at(g.time - 600_000)
					g.time = sc.Time
				}
				if i == 7 {
					sc = g.at(g.time - 15_000) // the same time again
					g.time = sc.Time
				}
				times = append(times, sc.Time)
				mustAppend(t, s, sc)
			}
			if n := len(segments(t, dir)); n != 3 {
				t.Errorf("%d segments, want one more for each step back", n)
			}
			if fromDisk {
				closeSpool(t, s)
				s = mustOpen(t, dir, Options{})
				c = mustClaim(t, s, "a")[0]
			}
			for _, n := range []int{4, 3, 2} {
				var b series.Batch
				if err := c.Read(ctx(), &b, c.Position(), Limits{}); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(b.Times, times[:n]) {
					t.Fatalf("times %v, want %v", b.Times, times[:n])
				}
				times = times[n:]
				if err := ack(c, b.To, series.Tally{Delivered: uint64(b.Samples)}); err != nil {
					t.Fatal(err)
				}
			}
			balanced(t, c)
		})
	}
}

func TestBefore(t *testing.T) {
	s := mustOpen(t, memoryDir(t), Options{})
	c := mustClaim(t, s, "a")[0]
	g := newTarget(2)
	start := g.time
	for range 6 {
		mustAppend(t, s, g.next())
	}
	for before, n := range map[int64]int{start + 46_000: 3, start + 45_000: 2, start + 15_000: 1, start: 1, 0: 6} {
		var b series.Batch
		if err := c.Read(ctx(), &b, c.Position(), Limits{Before: before}); err != nil {
			t.Fatal(err)
		}
		if len(b.Times) != n {
			t.Errorf("before %d: %d scrapes, want %d", before-start, len(b.Times), n)
		}
	}
}
