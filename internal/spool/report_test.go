// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"testing"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// TestUnclaimed: a cursor whose endpoint is gone is listed with what waits behind
// it, and no longer when the endpoint is back.
func TestUnclaimed(t *testing.T) {
	s, err := Open(t.TempDir(), Options{Series: registry})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	both := []Endpoint{{Name: "stays", URL: "http://a"}, {Name: "goes", URL: "http://b"}}
	if _, err := s.Claim(both); err != nil {
		t.Fatal(err)
	}
	if got := s.Unclaimed(); len(got) != 0 {
		t.Errorf("%+v while both are claimed", got)
	}
	sc := &series.Scrape{Time: 1000, Series: []*series.Series{testSeries(0), testSeries(1)}, Values: []float64{1, 2}}
	if _, err := s.Append(ctx(), sc); err != nil {
		t.Fatal(err)
	}
	if n := s.Usage(); n <= 0 || n > 1<<20 {
		t.Errorf("%d bytes on disk", n)
	}
	if _, err := s.Claim(both[:1]); err != nil {
		t.Fatal(err)
	}
	got := s.Unclaimed()
	if len(got) != 1 || got[0].Name != "goes" || got[0].Samples != 2 || got[0].Since.IsZero() {
		t.Errorf("%+v, want goes with 2 samples", got)
	}
	if _, err := s.Claim(both); err != nil {
		t.Fatal(err)
	}
	if got := s.Unclaimed(); len(got) != 0 {
		t.Errorf("%+v after it came back", got)
	}
}

// TestBegun: a spool tells whether there was ever a scrape in it, over a restart.
func TestBegun(t *testing.T) {
	dir := t.TempDir()
	for i, want := range []bool{false, true} {
		s, err := Open(dir, Options{Series: registry})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Begun(); got != want {
			t.Errorf("start %d: %v", i, got)
		}
		if _, err := s.Append(ctx(), &series.Scrape{Time: 1000, Series: []*series.Series{testSeries(0)}, Values: []float64{1}}); err != nil {
			t.Fatal(err)
		}
		if !s.Begun() {
			t.Errorf("start %d: not begun behind a scrape", i)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
