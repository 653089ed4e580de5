// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"testing"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

func TestAppendReadAck(t *testing.T) {
	for name, lim := range map[string]Limits{
		"no limit":                  {},
		"one scrape":                {Scrapes: 1},
		"four scrapes":              {Scrapes: 4},
		"samples within a scrape":   {Samples: 7},
		"samples of three and more": {Samples: 33},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := mustOpen(t, dir, Options{})
			c := mustClaim(t, s, "a")[0]
			g := newTarget(10)
			var all []*series.Scrape
			for i := range 150 {
				sc := g.next()
				all = append(all, sc)
				if p := mustAppend(t, s, sc); p.Scrape != uint64(i+1) {
					t.Fatalf("scrape %d got position %v", i+1, p)
				}
			}
			same(t, drain(t, c, lim), want(all...))
			balanced(t, c)
			if b := c.Backlog(); b.Samples != 0 || b.Scrapes != 0 {
				t.Errorf("backlog after draining: %+v", b)
			}
			if got := c.Tally().Delivered; got != 1500 {
				t.Errorf("delivered %d", got)
			}
		})
	}
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	g := newTarget(10)
	var all []*series.Scrape
	got := received{}
	for round := range 5 {
		s := mustOpen(t, dir, Options{})
		c := mustClaim(t, s, "a")[0]
		if round > 0 {
			if want := uint64(round * 200); c.Appended() != want {
				t.Fatalf("round %d: appended %d, want %d", round, c.Appended(), want)
			}
			oldest := all[len(all)-10].Time
			if b := c.Backlog(); b.Samples != 100 || b.Scrapes != 10 || b.Oldest > oldest || b.Oldest < oldest-segmentAge.Milliseconds() {
				t.Errorf("round %d: %+v, the oldest is of %d", round, b, oldest)
			}
			var b series.Batch
			if err := c.Read(ctx(), &b, c.Position(), Limits{Scrapes: 1}); err != nil {
				t.Fatal(err)
			}
			if b := c.Backlog(); b.Oldest != oldest {
				t.Errorf("round %d: the oldest is said to be of %d once it was read, want %d", round, b.Oldest, oldest)
			}
		}
		for range 20 {
			sc := g.next()
			all = append(all, sc)
			mustAppend(t, s, sc)
		}
		for waiting := c.Backlog().Scrapes; waiting > 10; waiting = c.Backlog().Scrapes {
			var b series.Batch
			if err := c.Read(ctx(), &b, c.Position(), Limits{Scrapes: int(waiting - 10)}); err != nil {
				t.Fatal(err)
			}
			got.add(t, &b)
			if err := ack(c, b.To, series.Tally{Delivered: uint64(b.Samples)}); err != nil {
				t.Fatal(err)
			}
		}
		balanced(t, c)
		closeSpool(t, s)
	}
	same(t, got, want(all[:len(all)-10]...))
}

func TestImpossibleScrape(t *testing.T) {
	s := mustOpen(t, memoryDir(t), Options{})
	c := mustClaim(t, s, "a")[0]
	g := newTarget(3)
	for name, change := range map[string]func(*series.Scrape){
		"a value too few":           func(sc *series.Scrape) { sc.Values = sc.Values[1:] },
		"a start timestamp too few": func(sc *series.Scrape) { sc.Starts = []int64{1, 2} },
	} {
		sc := g.next()
		change(sc)
		if _, err := s.Append(ctx(), sc); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	sc := g.next()
	sc.Exemplars = []series.Exemplar{{Index: 3}, {Index: -1}}
	mustAppend(t, s, sc)
	same(t, drain(t, c, Limits{}), want(sc))
	balanced(t, c)
}
