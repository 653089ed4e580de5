// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"context"
	"net/http"
	"slices"
	"testing"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// A target that has kept its shape sends the same series as before, whatever comes
// between two bodies of it.
func TestShapeAfterwards(t *testing.T) {
	fams := synthetic(1000)
	whole := protobufBody(t, fams)
	fams[0].Metric[0].Label[0].Value = "other"
	changed := protobufBody(t, fams)
	var own []*series.Series
	replayed := false
	begin := func(t *testing.T) (*Scraper, func(body []byte) []*series.Series) {
		own = nil
		s := newScraper(t, Options{Target: "unix:///m.sock"})
		scrape := func(body []byte) []*series.Series {
			t.Helper()
			s.target.client.Transport = &static{header: http.Header{"Content-Type": {typePB}}, body: body}
			before := s.shape
			sc, _ := s.Scrape(context.Background(), epoch, ownScrape(own...))
			replayed = before != nil && s.shape == before
			checkUnique(t, sc)
			return slices.Clone(sc.Series)
		}
		for range 3 {
			scrape(whole)
		}
		if !replayed {
			t.Fatal("not replayed")
		}
		return s, scrape
	}

	t.Run("another shape", func(t *testing.T) {
		_, scrape := begin(t)
		want := scrape(whole)
		got := scrape(changed)
		if len(got) != len(want)+1 || got[0] == want[0] || got[len(got)-1] != want[0] || !slices.Equal(got[1:len(want)], want[1:]) {
			t.Errorf("%d series became %d", len(want), len(got))
		}
		if scrape(changed); !replayed {
			t.Error("not replayed after a change")
		}
	})
	t.Run("a failure", func(t *testing.T) {
		_, scrape := begin(t)
		want := scrape(whole)
		targets := want[:len(want)-reports]
		if got := scrape([]byte("no protobuf")); !slices.Equal(got[reports:], targets) {
			t.Errorf("%d series ended, want %d", len(got)-reports, len(targets))
		}
		if got := scrape(whole); !slices.Equal(got, want) {
			t.Error("the series are others after a failure")
		}
	})
	t.Run("an end", func(t *testing.T) {
		s, scrape := begin(t)
		want := scrape(whole)
		if sc := s.End(epoch, false, false); !slices.Equal(sc.Series, want) {
			t.Errorf("%d series ended, want %d", len(sc.Series), len(want))
		}
		if got := scrape(whole); !slices.Equal(got, want) {
			t.Error("the series are others after an end")
		}
	})
	t.Run("a new series of the program", func(t *testing.T) {
		s, scrape := begin(t)
		own = append(own, mine(s, "own"))
		scrape(whole)
		if scrape(whole); !replayed {
			t.Error("not replayed")
		}
	})
	t.Run("a series of the program", func(t *testing.T) {
		s, scrape := begin(t)
		want := scrape(whole)
		own = []*series.Series{s.o.Series.Number(&series.Series{Labels: want[7].Labels, Help: "ours"})}
		for range 3 {
			if got := scrape(whole); len(got) != len(want) || got[7] != want[8] || got[len(got)-1] != own[0] {
				t.Fatal("a series of the target did not go over to the program")
			}
		}
		own = nil
		if got := scrape(whole); !slices.Equal(got, want) {
			t.Error("a series of the program did not go back to the target")
		}
	})
}
