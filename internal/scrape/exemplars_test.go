// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gogo/protobuf/types"
	dto "github.com/prometheus/prometheus/prompb/io/prometheus/client"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// ex is an exemplar of a protobuf body; at is in seconds, 0 for none.
type ex struct {
	id string
	v  float64
	at int64
}

func exemplarOf(x ex) *dto.Exemplar {
	e := &dto.Exemplar{Label: []dto.LabelPair{{Name: "id", Value: x.id}}, Value: x.v}
	if x.at != 0 {
		e.Timestamp = &types.Timestamp{Seconds: x.at}
	}
	return e
}

// exemplarBody is a native histogram with these exemplars and a counter with one.
func exemplarBody(t *testing.T, native []ex, counter *ex) string {
	h := nativeFamily(1)
	for _, x := range native {
		h.Metric[0].Histogram.Exemplars = append(h.Metric[0].Histogram.Exemplars, exemplarOf(x))
	}
	c := &dto.Counter{Value: 5}
	if counter != nil {
		c.Exemplar = exemplarOf(*counter)
	}
	return string(protobufBody(t, []*dto.MetricFamily{h, {Name: "c", Type: dto.MetricType_COUNTER, Metric: []dto.Metric{{Counter: c}}}}))
}

// ids are the exemplars of a scrape in their order, those of the histogram in capitals.
func ids(sc *series.Scrape) string {
	var out []string
	for _, x := range sc.Exemplars {
		id := x.Labels.Get("id")
		if x.Index >= len(sc.Series) {
			id = strings.ToUpper(id)
		}
		out = append(out, id)
	}
	return strings.Join(out, " ")
}

// TestExemplarsOnce: of each series only what is newer than the last one that was
// handed out, in order of time; one without a time once until it changes, and of a
// native histogram never.
func TestExemplarsOnce(t *testing.T) {
	for _, tc := range []struct {
		name    string
		resumed bool
		native  [][]ex
		counter []*ex
		want    []string
	}{
		{
			name:   "the same two in every scrape",
			native: [][]ex{{{"a", 1, 10}, {"b", 2, 11}}, {{"a", 1, 10}, {"b", 2, 11}}, {{"a", 1, 10}, {"b", 2, 11}}},
			want:   []string{"A B", "", ""},
		},
		{
			name:   "unsorted, and one of them renewed",
			native: [][]ex{{{"b", 2, 11}, {"a", 1, 10}}, {{"c", 2, 12}, {"a", 1, 10}}, {{"c", 2, 12}, {"d", 1, 13}}},
			want:   []string{"A B", "C", "D"},
		},
		{
			name:   "at one time, by value",
			native: [][]ex{{{"b", 2, 10}, {"a", 1, 10}}, {{"b", 2, 10}, {"c", 3, 10}, {"d", 2, 10}}},
			want:   []string{"A B", "C"},
		},
		{
			name:   "older than what was sent",
			native: [][]ex{{{"a", 1, 10}}, {{"b", 1, 9}}, {{"b", 1, 9}, {"c", 1, 11}}},
			want:   []string{"A", "", "C"},
		},
		{
			name:   "a native histogram's without a time",
			native: [][]ex{{{"a", 1, 0}, {"b", 2, 11}}, {{"a", 1, 0}}},
			want:   []string{"B", ""},
		},
		{
			name:    "a counter's without a time",
			counter: []*ex{{"a", 1, 0}, {"a", 1, 0}, {"b", 1, 0}, nil, {"b", 1, 0}, {"b", 2, 0}, {"a", 1, 0}},
			want:    []string{"a", "", "b", "", "", "b", "a"},
		},
		{
			name:    "a counter's with a time",
			counter: []*ex{{"a", 1, 10}, {"a", 1, 10}, {"b", 1, 11}, {"a", 1, 10}},
			want:    []string{"a", "", "b", ""},
		},
		{
			name:    "after a restart the newest, which the receiver has",
			resumed: true,
			native:  [][]ex{{{"b", 2, 11}, {"a", 1, 10}}, {{"b", 2, 11}, {"a", 1, 10}}, {{"c", 2, 12}, {"d", 2, 13}}},
			want:    []string{"B", "", "C D"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFake(t)
			s := newScraper(t, Options{Target: f.url, Resumed: tc.resumed, NativeHistograms: true})
			for i, want := range tc.want {
				var native []ex
				var counter *ex
				if tc.native != nil {
					native = tc.native[i]
				} else {
					counter = tc.counter[i]
				}
				f.set(typePB, exemplarBody(t, native, counter))
				sc, err := s.Scrape(t.Context(), epoch.Add(time.Duration(i)*time.Second), nil)
				if err != nil {
					t.Fatal(err)
				}
				if got := ids(sc); got != want {
					t.Errorf("scrape %d: %q, want %q", i, got, want)
				}
			}
		})
	}
}

// TestExemplarsOutliveTheirSeries: a scrape that fails, an end of all series and a
// series that is missing for a while do not make its exemplars new. Only so many
// series that are gone are remembered; of one that was forgotten the newest is taken.
func TestExemplarsOutliveTheirSeries(t *testing.T) {
	f := newFake(t)
	s := newScraper(t, Options{Target: f.url, NativeHistograms: true})
	body := exemplarBody(t, []ex{{"a", 1, 10}, {"b", 2, 11}}, &ex{"c", 1, 0})
	at := epoch
	scrape := func(contentType, body string) *series.Scrape {
		at = at.Add(time.Second)
		f.set(contentType, body)
		sc, _ := s.Scrape(t.Context(), at, nil)
		return sc
	}
	if got := ids(scrape(typePB, body)); got != "c A B" && got != "A B c" {
		t.Fatalf("%q at first", got)
	}
	scrape(typeText, "not { a body\n")
	if got := ids(scrape(typePB, body)); got != "" {
		t.Errorf("%q after a scrape that failed", got)
	}
	scrape(typeText, "x 1\n")
	if got := ids(scrape(typePB, body)); got != "" {
		t.Errorf("%q after a scrape without the series", got)
	}
	s.End(at, false, false)
	if got := ids(scrape(typePB, body)); got != "" {
		t.Errorf("%q after the end of all series", got)
	}
	for i := range 2 {
		var many strings.Builder
		for k := range 2 * exemplarsSpare {
			fmt.Fprintf(&many, "# TYPE m%d_%d counter\nm%d_%d_total 1 # {id=\"x\"} 1\n", i, k, i, k)
		}
		many.WriteString("# EOF\n")
		if n := len(scrape(typeOM, many.String()).Exemplars); n != 2*exemplarsSpare {
			t.Fatalf("%d exemplars of %d series", n, 2*exemplarsSpare)
		}
	}
	scrape(typeOM, "# TYPE n counter\nn_total 1 # {id=\"n\"} 1\n# EOF\n")
	if n := len(s.exemplars.last); n > 2+exemplarsSpare {
		t.Errorf("%d series are remembered", n)
	}
	if got := ids(scrape(typePB, body)); got != "c B" && got != "B c" {
		t.Errorf("%q after it was forgotten, want the newest", got)
	}
}

// TestExemplarsOfAFailedScrape: what a body that breaks off had was not handed out,
// and is new in the next one.
func TestExemplarsOfAFailedScrape(t *testing.T) {
	f := newFake(t)
	s := newScraper(t, Options{Target: f.url, NativeHistograms: true})
	body := exemplarBody(t, []ex{{"a", 1, 10}}, nil)
	f.set(typePB, body+"\x05broken")
	if sc, err := s.Scrape(t.Context(), epoch, nil); err == nil || len(sc.Exemplars) != 0 {
		t.Fatalf("%v, %+v", err, sc.Exemplars)
	}
	f.set(typePB, body)
	if sc, err := s.Scrape(t.Context(), epoch.Add(time.Second), nil); err != nil || ids(sc) != "A" {
		t.Errorf("%v, %q", err, ids(sc))
	}
}
