// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"pgregory.net/rapid"
)

// prometheusStarts are the series of an OpenMetrics body with the start timestamps
// that a Prometheus stores that parses them.
func prometheusStarts(t testing.TB, body string) []string {
	t.Helper()
	// The name's length of a family is looked for behind a series, without a check.
	tp := textparse.NewOpenMetricsParser(append(make([]byte, 0, len(body)+1024), body...), nil, textparse.WithOMParserSTSeriesSkipped())
	var out []string
	seen := map[string]bool{}
	for {
		et, err := tp.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, body)
		}
		if et != textparse.EntrySeries {
			continue
		}
		var ls labels.Labels
		if tp.Labels(&ls); !seen[ls.String()] {
			seen[ls.String()] = true
			out = append(out, fmt.Sprintf("%s %d", ls, max(tp.StartTimestamp(), 0)))
		}
	}
}

func TestCreated(t *testing.T) {
	check := func(t testing.TB, body string) {
		t.Helper()
		body += "# EOF\n"
		s := staticScraper(t, typeOM, []byte(body))
		for range 2 {
			sc, err := s.Scrape(t.Context(), epoch, nil)
			if err != nil {
				t.Fatalf("%v in\n%s", err, body)
			}
			var got []string
			for i, sr := range sc.Series[:len(sc.Series)-reports] {
				var start int64
				if sc.Starts != nil {
					start = sc.Starts[i]
				}
				got = append(got, fmt.Sprintf("%s %d", labels.NewBuilder(sr.Labels).Del("job", "instance").Labels(), start))
			}
			if want := prometheusStarts(t, body); !slices.Equal(got, want) {
				t.Fatalf("%q, want %q, in\n%s", got, want, body)
			}
		}
	}
	const counter, histogram = "# TYPE c counter\n", "# TYPE h histogram\n"
	for name, body := range map[string]string{
		"each":             counter + "c_total{a=\"1\"} 5\nc_created{a=\"1\"} 1700000000.5\nc_total{a=\"2\"} 6\nc_created{a=\"2\"} 1700000001\n",
		"not the first":    counter + "c_total{a=\"1\"} 5\nc_total{a=\"2\"} 6\nc_created{a=\"2\"} 1700000001\nc_total{a=\"3\"} 6\nc_created{a=\"3\"} 1700000002\n",
		"none but one":     counter + strings.Repeat("c_total{a=\"1\"} 5\n", 3) + "c_total{a=\"2\"} 6\nc_created{a=\"2\"} 1\n",
		"in another order": counter + "c_total{a=\"1\"} 5\nc_total{a=\"2\"} 6\nc_created{a=\"2\"} 2\nc_created{a=\"1\"} 1\n",
		"in front":         counter + "c_created{a=\"1\"} 1\nc_total{a=\"1\"} 5\n",
		"no such series":   counter + "c_total 1\nd_created 4\nc_created 5\n",
		"a gauge":          "# TYPE c gauge\nc 1\nc_created 5\n",
		"no type":          "c_total 1\nc_created 5\n",
		"a histogram":      histogram + "h_bucket{le=\"1.0\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_created 7\nh_sum 3\nh_count 2\n",
		"two histograms":   histogram + "h_bucket{a=\"1\",le=\"+Inf\"} 2\nh_count{a=\"1\"} 2\nh_bucket{a=\"2\",le=\"+Inf\"} 2\nh_created{a=\"2\"} 7\nh_sum{a=\"2\"} 2\n",
		"a summary":        "# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 2\ns_count 3\ns_created 9\n",
		"another family":   counter + "c_total 1\n# TYPE d counter\nd_total 1\nd_created 3\nc_created 4\n",
		"without a value":  counter + "c_total{a=\"1\"} 1\nc_created{a=\"1\"} NaN\nc_total{a=\"2\"} 1\nc_created{a=\"2\"} -5\nc_total{a=\"3\"} 1\nc_created{a=\"3\"} 6\n",
		"a quoted name":    "# TYPE \"a.b\" counter\n{\"a.b_total\"} 1\n{\"a.b_created\"} 3\n{\"a.b_total\",x=\"1\"} 1\n{\"a.b_created\",x=\"1\"} 4\n",
	} {
		t.Run(name, func(t *testing.T) { check(t, body) })
	}
	// Unlike Prometheus we do not mind in which order the labels stand.
	s := staticScraper(t, typeOM, []byte(counter+"c_total{a=\"1\",b=\"2\"} 1\nc_created{b=\"2\",a=\"1\"} 3\n# EOF\n"))
	if sc, err := s.Scrape(t.Context(), epoch, nil); err != nil || len(sc.Starts) == 0 || sc.Starts[0] != 3000 {
		t.Errorf("labels in another order: %v %s", err, dump(sc))
	}
	t.Run("any", func(t *testing.T) {
		lines := []string{
			counter, histogram, "# TYPE d counter\n", "# TYPE c gauge\n", "# HELP c C.\n", "# HELP d D.\n",
			"c_total 1\n", "c_total{a=\"1\"} 1\n", "c_total{a=\"2\"} 1\n", "c_created 1\n", "c_created{a=\"1\"} 2\n", "c_created{a=\"2\"} 3\n",
			"d_total 1\n", "d_created 4\n", "c_created 0\n",
			"h_bucket{le=\"1.0\"} 1\n", "h_bucket{a=\"1\",le=\"1.0\"} 1\n", "h_bucket{a=\"1\",le=\"+Inf\"} 1\n", "h_sum{a=\"1\"} 1\n", "h_count 1\n", "h_created 5\n", "h_created{a=\"1\"} 6\n",
		}
		rapid.Check(t, func(rt *rapid.T) {
			check(t, strings.Join(rapid.SliceOfN(rapid.SampledFrom(lines), 1, 20).Draw(rt, "lines"), ""))
		})
	})
}

// A start timestamp is not later than its sample, whichever way the body is read.
func TestStartNotLater(t *testing.T) {
	const start = 1_750_000_000_123 // of what is synthetic
	s := staticScraper(t, typePB, protobufBody(t, synthetic(1)))
	var before *shape
	for _, now := range []int64{start + 1, start - 5, start + 5, start - 7} {
		before = s.shape
		sc, err := s.Scrape(t.Context(), time.UnixMilli(now), nil)
		if err != nil {
			t.Fatal(err)
		}
		if want := min(start, now); len(sc.Starts) == 0 || sc.Starts[0] != want {
			t.Errorf("%v at %d, want %d", sc.Starts, now, want)
		}
	}
	if before == nil || s.shape != before {
		t.Error("not replayed")
	}
}
