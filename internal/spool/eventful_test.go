// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// TestEventful reads a spool in place that the release wrote which kept an engine's
// identity, took losses back and stored ranges in flight: it has segments that were
// evicted behind such a range, losses of several reasons, an endpoint that nobody
// claims, a clock that was set back, and another host's segment that was set aside.
func TestEventful(t *testing.T) {
	dir := memoryDir(t)
	if err := os.CopyFS(dir, os.DirFS("../../testdata/spool/v1-eventful")); err != nil {
		t.Fatal(err)
	}
	aside := filepath.Join(dir, dirName(0), segmentName(1)+".foreign")
	for _, tt := range []struct {
		name string
		age  time.Duration
		kept bool
	}{{"set aside lately", time.Hour, true}, {"set aside long ago", asideFor + time.Hour, false}} {
		t.Run(tt.name, func(t *testing.T) {
			at := time.Now().Add(-tt.age)
			if err := os.Chtimes(aside, at, at); err != nil {
				t.Fatal(err)
			}
			s := mustOpen(t, dir, Options{})
			if got := s.Unclaimed(); len(got) != 1 || got[0].Name != "gone" || got[0].Samples != 123 && tt.kept {
				t.Errorf("unclaimed: %+v", got)
			}
			cs := mustClaim(t, s, "a", "b")
			for i, want := range []struct {
				pos, barrier series.Position
				delivered    uint64
				lost         map[string]uint64
			}{
				{series.Position{Scrape: 47, Count: 145}, series.Position{Scrape: 20, Count: 64}, 28,
					map[string]uint64{"refused": 4, "evicted_size": 12, "evicted_age": 81, "foreign": 20}},
				{series.Position{Scrape: 47, Count: 145}, series.Position{Scrape: 48, Ordinal: 1, Count: 149}, 17,
					map[string]uint64{"evicted_age": 108, "foreign": 20}},
			} {
				c := cs[i]
				tally := c.Tally()
				if c.Position() != want.pos || tally.Delivered != want.delivered || !maps.Equal(losses(tally), want.lost) {
					t.Errorf("%s stands at %v %d, delivered %d, lost %v; want %+v", c.Name(), c.Position(), c.Position().Count, tally.Delivered, losses(tally), want)
				}
				if c.Note() != (Note{Barrier: want.barrier}) {
					t.Errorf("%s has the note %+v, want the barrier %v", c.Name(), c.Note(), want.barrier)
				}
				if b := c.Backlog(); b.Samples != 21 || b.Scrapes != 7 || c.Appended() != 166 {
					t.Errorf("%s: %+v waits, %d appended", c.Name(), b, c.Appended())
				}
				var batch series.Batch
				if err := c.Read(ctx(), &batch, c.Position(), Limits{}); err != nil {
					t.Fatal(err)
				}
				// The seventh is behind the mark of the clock.
				if batch.Samples != 18 || batch.Rows[0].Series.Labels.Get("instance") != "host-1" {
					t.Errorf("%s: %d samples are read", c.Name(), batch.Samples)
				}
				balanced(t, c)
			}
			waitFor(t, s, func() bool { return len(s.log.trash) == 0 })
			if _, err := os.Stat(aside); (err == nil) != tt.kept {
				t.Errorf("what was set aside: %v", err)
			}
			closeSpool(t, s)
		})
	}
	s := mustOpen(t, dir, Options{})
	cs := mustClaim(t, s, "a", "b", "gone")
	for _, c := range cs {
		drain(t, c, Limits{})
		balanced(t, c)
	}
	if got := losses(cs[2].Tally()); !maps.Equal(got, map[string]uint64{"refused": 1, "foreign": 20, "endpoint_removed": 102}) {
		t.Errorf("the one that nobody claimed lost %v", got)
	}
}
