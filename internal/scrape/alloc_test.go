// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// A scrape of known series allocates nothing for a series, whatever the format:
// what it allocates does not depend on how many there are.
func TestAllocations(t *testing.T) {
	allocs := func(p payload, change func(s *Scraper, i int)) float64 {
		s := staticScraper(t, p.contentType, p.body)
		i := 0
		run := func() {
			i++
			if change != nil {
				change(s, i)
			}
			if _, err := s.Scrape(context.Background(), epoch); err != nil {
				t.Fatal(err)
			}
		}
		for range 4 {
			run()
		}
		return testing.AllocsPerRun(20, run)
	}
	for _, p := range payloads(t, 100, 4000) {
		t.Run(p.name, func(t *testing.T) {
			if n := allocs(p, nil); n > 10 {
				t.Errorf("%v allocations a scrape", n)
			}
		})
	}
	// Where the shape changes with each scrape, textparse reads it. In text it too
	// allocates nothing for a known series.
	t.Run("changing text", func(t *testing.T) {
		body := textBody(synthetic(500))
		n := allocs(payload{"", typeText, body}, func(s *Scraper, i int) {
			next := append(fmt.Appendf(nil, "once 1\n#%d\n", i), body...)
			s.target.ask = (&static{header: http.Header{"Content-Type": {typeText}}, body: next}).ask
		})
		if n > 100 {
			t.Errorf("%v allocations a scrape", n)
		}
	})
}

// A large target that keeps its shape is remembered in one form only, and what it
// sends does not change when the others are made anew, whatever wakes them.
func TestRest(t *testing.T) {
	fams := synthetic(2 * restAbove)
	whole := protobufBody(t, fams)
	fams[0].Metric[0].Label[0].Value = "other"
	changed := protobufBody(t, fams)
	settled := 0
	var own []*series.Series
	begin := func(t *testing.T) (*Scraper, func(body []byte) []*series.Series) {
		settled, own = 0, nil
		s := newScraper(t, Options{Target: "unix:///m.sock", Self: func(sc *series.Scrape) {
			for _, sr := range own {
				sc.Series, sc.Values = append(sc.Series, sr), append(sc.Values, 1)
			}
		}})
		scrape := func(body []byte) []*series.Series {
			t.Helper()
			s.target.ask = (&static{header: http.Header{"Content-Type": {typePB}}, body: body}).ask
			sc, _ := s.Scrape(context.Background(), epoch)
			checkUnique(t, sc)
			if s.Settled() {
				settled++
			}
			return slices.Clone(sc.Series)
		}
		for range restAfter + 1 {
			scrape(whole)
		}
		if len(s.cache.raws)+len(s.cache.entries) != 0 || settled != 1 {
			t.Fatalf("%d raws and %d entries kept, settled %d times", len(s.cache.raws), len(s.cache.entries), settled)
		}
		return s, scrape
	}

	t.Run("the buffer", func(t *testing.T) {
		s, scrape := begin(t)
		fitted := cap(s.target.body)
		if fitted > len(whole)+len(whole)/8 {
			t.Errorf("%d bytes for a body of %d", fitted, len(whole))
		}
		if scrape(whole); cap(s.target.body) != fitted {
			t.Errorf("%d bytes became %d", fitted, cap(s.target.body))
		}
	})
	t.Run("another shape", func(t *testing.T) {
		s, scrape := begin(t)
		want := scrape(whole)
		got := scrape(changed)
		if len(got) != len(want)+1 || got[0] == want[0] || got[len(got)-1] != want[0] || !slices.Equal(got[1:len(want)], want[1:]) {
			t.Errorf("%d series became %d", len(want), len(got))
		}
		if len(s.cache.raws) < 2*restAbove || len(s.cache.entries) < 2*restAbove {
			t.Errorf("%d raws and %d entries after a change", len(s.cache.raws), len(s.cache.entries))
		}
		for range restAfter {
			scrape(changed)
		}
		if len(s.cache.raws) != 0 || settled != 2 {
			t.Errorf("%d raws kept, settled %d times", len(s.cache.raws), settled)
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
		if sc := s.End(epoch, false); !slices.Equal(sc.Series, want) {
			t.Errorf("%d series ended, want %d", len(sc.Series), len(want))
		}
		if got := scrape(whole); !slices.Equal(got, want) {
			t.Error("the series are others after an end")
		}
	})
	t.Run("a new series of the program", func(t *testing.T) {
		s, scrape := begin(t)
		own = []*series.Series{{Labels: labels.FromStrings("__name__", "own")}}
		for range restAfter + 1 {
			scrape(whole)
		}
		if len(s.cache.entries) != 0 {
			t.Errorf("%d entries kept", len(s.cache.entries))
		}
	})
	t.Run("a series of the program", func(t *testing.T) {
		_, scrape := begin(t)
		want := scrape(whole)
		own = []*series.Series{{Labels: want[7].Labels}}
		if got := scrape(whole); len(got) != len(want) || got[7] != want[7] {
			t.Error("a series of the target went over at once")
		}
		if got := scrape(whole); len(got) != len(want) || got[7] != want[8] || got[len(got)-1] != own[0] {
			t.Error("a series of the target did not go over to the program")
		}
	})
}

// The program's own series keep their label sets, whoever else sends them.
func TestSelf(t *testing.T) {
	mine := func(name string) *series.Series {
		return &series.Series{Labels: TargetLabels(name, "docker", "host1", labels.EmptyLabels())}
	}
	own := []*series.Series{mine("own_a")}
	f := newFake(t)
	s := newScraper(t, Options{Target: f.url, Self: func(sc *series.Scrape) {
		for _, sr := range own {
			sc.Series, sc.Values = append(sc.Series, sr), append(sc.Values, 9)
		}
	}})
	const report = "up 1\nscrape_samples_scraped %d\nscrape_samples_post_metric_relabeling %d\nscrape_series_added %d\n"
	step := func(body, want string) {
		t.Helper()
		f.set(typeText, body)
		sc, _ := s.Scrape(t.Context(), epoch)
		checkUnique(t, sc)
		if got := dump(sc); got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	}
	// A series that the exposition had first stays its own for that scrape.
	step("own_a 1\nx 2\n", "own_a 1\nx 2\n"+fmt.Sprintf(report, 2, 2, 2))
	for range 3 {
		step("own_a 1\nx 2\n", "x 2\n"+fmt.Sprintf(report, 2, 1, 0)+"own_a 9\n")
	}
	own = append(own, mine("own_b"))
	step("own_a 1\nx 2\n", "x 2\n"+fmt.Sprintf(report, 2, 1, 0)+"own_a 9\nown_b 9\n")
	// The exposition's series goes over to the program without a stale marker.
	own = own[:1]
	step("own_b 1\nx 2\n", "x 2\n"+fmt.Sprintf(report, 2, 1, 0)+"own_a 9\n")
	// A failed scrape has the program's series, and no marker for them.
	step("x{\n", "up 0\nscrape_samples_scraped 0\nscrape_samples_post_metric_relabeling 0\nscrape_series_added 0\nown_a 9\nx stale\n")
	// Columns that do not match are left out.
	own = nil
	s.o.Self = func(sc *series.Scrape) { sc.Series = append(sc.Series, mine("own_c")) }
	step("x 2\n", "x 2\n"+fmt.Sprintf(report, 1, 1, 0))
	// Start timestamps of the program's own go to the right columns.
	s.o.Self = func(sc *series.Scrape) {
		sc.Series, sc.Values = append(sc.Series, mine("own_d"), mine("own_e")), append(sc.Values, 1, 2)
		sc.Starts = append(sc.Starts, 0, 77)
	}
	step("x 2\n", "x 2\n"+fmt.Sprintf(report, 1, 1, 0)+"own_d 1\nown_e 2 start=77\n")
	if n := s.Stats().Clashes; n == 0 {
		t.Error("no clash counted")
	}
}

func TestOptions(t *testing.T) {
	for _, tt := range []struct{ target, job, want string }{
		{"", "j", `want unix:///path/to.sock or http://host:port/metrics`},
		{"unix://m.sock", "j", "want an absolute path"},
		{"https://h/metrics", "j", "want unix://"},
		{"http://u:s3cret@h/metrics", "j", "user info"},
		{"https://u:s3cret@h/metrics?token=s3cret", "j", `"https://h/metrics"`},
		{"http://u:s3cret@h:bad/metrics", "j", "invalid URL"},
		{"http:///metrics", "j", "want a host"},
		{"http://h:99999999999/%zz", "j", "invalid URL"},
		{"unix:///m.sock", "", "job and instance"},
	} {
		_, err := New(Options{Target: tt.target, Job: tt.job, Instance: "i"})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %q", tt.target, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("a secret is shown: %v", err)
		}
	}
	for target, path := range map[string]string{
		"unix:///run/m.sock":         "http://localhost/metrics",
		"unix:///run/m.sock:/other":  "http://localhost/other",
		"http://127.0.0.1:9323":      "http://127.0.0.1:9323/metrics",
		"http://127.0.0.1:9323/x?y=": "http://127.0.0.1:9323/x?y=",
	} {
		s := newScraper(t, Options{Target: target})
		if got := s.target.conn.request.URL.String(); got != path {
			t.Errorf("%s asks for %s, want %s", target, got, path)
		}
	}
}
