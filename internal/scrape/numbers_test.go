// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// The program's own series keep their label sets, whoever else sends them.
func TestOwn(t *testing.T) {
	f := newFake(t)
	s := newScraper(t, Options{Target: f.url})
	a, b := mine(s, "own_a"), mine(s, "own_b")
	const report = "up 1\nscrape_samples_scraped %d\nscrape_samples_post_metric_relabeling %d\nscrape_series_added %d\n"
	step := func(body, want string, own ...*series.Series) {
		t.Helper()
		f.set(typeText, body)
		sc, _ := s.Scrape(t.Context(), epoch, ownScrape(own...))
		checkUnique(t, sc)
		if got := dump(sc); got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	}
	step("own_a 1\nx 2\n", "own_a 1\nx 2\n"+fmt.Sprintf(report, 2, 2, 2))
	// The exposition's series goes over to the program without a stale marker.
	for range 3 {
		step("own_a 1\nx 2\n", "x 2\n"+fmt.Sprintf(report, 2, 1, 0)+"own_a 9\n", a)
	}
	if n := s.Stats().Clashes; n != 3 {
		t.Errorf("%d clashes, want 3", n)
	}
	step("own_a 1\nx 2\n", "x 2\n"+fmt.Sprintf(report, 2, 1, 0)+"own_a 9\nown_b 9\n", a, b)
	// One that the program no longer has ends, unless the exposition has it.
	step("x 2\n", "x 2\n"+fmt.Sprintf(report, 1, 1, 0)+"own_a 9\nown_b stale\n", a)
	step("own_a 1\nx 2\n", "own_a 1\nx 2\n"+fmt.Sprintf(report, 2, 2, 1))
	// A failed scrape has the program's series, and no marker for them.
	step("x{\n", "up 0\nscrape_samples_scraped 0\nscrape_samples_post_metric_relabeling 0\nscrape_series_added 0\nown_a 9\nx stale\n", a)
}

// A type or help that changes makes another Series, without a gap.
func TestMetadataChange(t *testing.T) {
	f := newFake(t)
	s := newScraper(t, Options{Target: f.url})
	var last any
	for i, head := range []string{"", "# TYPE a gauge\n", "# TYPE a counter\n", "# HELP a One.\n# TYPE a counter\n", "# HELP a Two.\n# TYPE a counter\n", "# HELP b Other.\n# TYPE b counter\n"} {
		f.set(typeText, head+"a 1\n")
		for again := range 3 {
			sc, err := s.Scrape(t.Context(), epoch, nil)
			if err != nil {
				t.Fatal(err)
			}
			if d := dump(sc); strings.Contains(d, "stale") || !strings.HasPrefix(d, "a 1\nup 1\n") {
				t.Errorf("%s", d)
			}
			if same := last == any(sc.Series[0]); same != (again > 0) {
				t.Errorf("%d: same series: %v", i, same)
			}
			last = sc.Series[0]
		}
	}
	sc, _ := s.Scrape(t.Context(), epoch, nil)
	if sr := sc.Series[0]; sr.Type != model.MetricTypeUnknown || sr.Help != "" {
		t.Errorf("%+v", sr)
	}
	f.set(typeText, "# HELP a Two\\nlines \\\\.\n# TYPE a histogram\na_bucket{le=\"1\"} 1\na_sum 2\na_count 3\na_other 4\n")
	sc, err := s.Scrape(t.Context(), epoch, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, sr := range sc.Series[:4] {
		want := model.MetricTypeHistogram
		if i == 3 {
			want = model.MetricTypeUnknown
		}
		if sr.Type != want || (i < 3) != (sr.Help == "Two\nlines \\.") {
			t.Errorf("%+v", sr)
		}
	}
	if got := sc.Series[0].Labels.Get("le"); got != "1.0" {
		t.Errorf("le %q, want the form of OpenMetrics", got)
	}
}

// A changed type or help is another number on the same line: nothing ends, nothing
// counts as added, and what is known of the line's exemplars goes on.
func TestMetadataChangeKeepsTheLine(t *testing.T) {
	f := newFake(t)
	s := newScraper(t, Options{Target: f.url})
	const sample, rest = "c_total 1 # {id=\"x\"} 1 17\n# EOF\n", "up 1\nscrape_samples_scraped 1\nscrape_samples_post_metric_relabeling 1\nscrape_series_added %d\n"
	var last *series.Series
	for i, head := range []string{"# TYPE c counter\n", "# HELP c One.\n# TYPE c counter\n", "# HELP c Two.\n# TYPE c counter\n", "", "# TYPE c_total unknown\n# HELP c_total Three.\n"} {
		f.set(typeOM, head+sample)
		for again := range 2 {
			sc, err := s.Scrape(t.Context(), epoch.Add(time.Duration(2*i+again)*time.Second), nil)
			if err != nil {
				t.Fatal(err)
			}
			want := "c_total 1\n" + fmt.Sprintf(rest, 0)
			if last == nil {
				want = "c_total 1\n" + fmt.Sprintf(rest, 1) + "exemplar 0 {id=\"x\"} 1 17000\n"
			}
			if got := dump(sc); got != want {
				t.Errorf("%q: got\n%swant\n%s", head, got, want)
			}
			now := sc.Series[0]
			if last != nil && (now.Line != last.Line || (now.Ref == last.Ref) != (again > 0)) {
				t.Errorf("%q: number %x on line %x became %x on %x", head, last.Ref, last.Line, now.Ref, now.Line)
			}
			last = now
		}
	}
}

// What the scraper holds is what it remembers: after an end and Close, nothing.
func TestReleases(t *testing.T) {
	reg := series.NewRegistry()
	f := newFake(t)
	s := newScraper(t, Options{Target: f.url, Series: reg, HoldBack: time.Hour, NativeHistograms: true})
	own := ownScrape(mine(s, "own_a"), mine(s, "own_b"))
	scrape := func(contentType, body string, o *series.Scrape) *series.Scrape {
		f.set(contentType, body)
		sc, _ := s.Scrape(t.Context(), epoch, o)
		if sc == nil {
			return nil
		}
		// All that is handed out is held until the next call.
		reg.Hold(sc.Series)
		reg.Release(sc.Series)
		return sc
	}
	churn := func(i int) {
		var b strings.Builder
		for k := range 100 {
			fmt.Fprintf(&b, "# HELP m%d Help %d.\nm%d{i=\"%d\"} 1\n", k%7, i, k%7, 100*i+k)
		}
		scrape(typeText, b.String(), own)
	}
	for i := range 50 {
		churn(i)
		switch i % 5 {
		case 1:
			scrape(typeText, fmt.Sprintf("new{i=\"%d\"} 1\nx{\n", i), nil)
		case 2:
			scrape(typeText, fmt.Sprintf("new{i=\"%d\"} 1\nengine_daemon_engine_cpus_cpus 0\n", i), own)
		case 3:
			scrape(typePB, exemplarBody(t, []ex{{"a", 1, 10}}, &ex{"c", 1, 0}), own)
		case 4:
			// One key in two families is two numbers on one line.
			scrape(typeText, "# TYPE a gauge\na 1\n# TYPE b gauge\nb 1\n# TYPE a counter\na 2\nown_a 1\nup 1\n", own)
		}
		if i == 30 {
			s.End(epoch, false, false)
		}
	}
	for range 3 {
		scrape(typeText, "z 1\n", nil)
	}
	// z, the reports, the program's, and two of which exemplars are remembered.
	if n := reg.Len(); n != 1+reports+2+2 {
		t.Errorf("%d series are held", n)
	}
	s.End(epoch, true, false)
	s.Close()
	if n := reg.Len(); n != 2 {
		t.Errorf("%d series are held behind the end, want the program's 2", n)
	}
	s.Close()
}
