// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"bytes"
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// metricOf is the label set of the metric that a series is a part of.
func metricOf(s *series.Series) labels.Labels {
	b := labels.NewBuilder(s.Labels)
	if s.Type == model.MetricTypeHistogram {
		name := s.Labels.Get("__name__")
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			name = strings.TrimSuffix(name, suffix)
		}
		b.Set("__name__", name).Del("le")
	}
	return b.Labels()
}

func TestCaptures(t *testing.T) {
	tests := []struct {
		name            string
		samples, starts int
	}{
		{"v20.10-fresh.txt", 409, 0}, {"v20.10-fresh.pb", 409, 0},
		{"v20.10-busy.txt", 451, 0}, {"v20.10-busy.pb", 451, 0},
		{"v20.10-swarm.txt", 1686, 0}, {"v20.10-swarm.pb", 1686, 0},
		{"v20.10-early-start.txt", 0, 0},
		{"master-fresh.txt", 477, 0}, {"master-fresh.pb", 477, 45},
		{"master-swarm.txt", 1832, 0}, {"master-swarm.pb", 1832, 1386},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			ct, body := capture(t, tt.name)
			f.set(ct, string(body))
			s := newScraper(t, Options{Target: f.url})
			defer func() {
				if a := f.lastAccept(); !strings.HasPrefix(a, "application/vnd.google.protobuf;") {
					t.Errorf("asked for %s", a)
				}
			}()
			for range 3 {
				sc, err := s.Scrape(t.Context(), time.Now(), nil)
				if err != nil {
					t.Fatal(err)
				}
				checkUnique(t, sc)
				want := tt.samples
				if want == 0 {
					want = bytes.Count(body, []byte("\n")) - bytes.Count(body, []byte("#"))
				}
				if got := sc.Len() - reports; got != want {
					t.Errorf("%d samples, want %d", got, want)
				}
				// The engine gives one start timestamp a metric; each series that a
				// histogram consists of carries it.
				starts := map[labels.Labels]int64{}
				for i, st := range sc.Starts {
					if st <= 0 || st > sc.Time {
						continue
					}
					m := metricOf(sc.Series[i])
					if had, ok := starts[m]; ok && had != st {
						t.Errorf("%s: start timestamps %d and %d", m, had, st)
					}
					starts[m] = st
				}
				if len(starts) != tt.starts {
					t.Errorf("%d start timestamps, want %d", len(starts), tt.starts)
				}
				for _, sr := range sc.Series {
					if sr.Type == "unknown" {
						t.Errorf("%s has no type", sr.Labels)
					}
				}
			}
		})
	}
}

// The first scrape of a booting engine is held back, that of a ready one is not.
func TestHoldBackCaptures(t *testing.T) {
	f := newFake(t)
	s := newScraper(t, Options{Target: f.url, HoldBack: time.Minute})
	for _, name := range []string{"v20.10-early-start.txt", "v20.10-early-start.txt", "v20.10-fresh.pb"} {
		ct, body := capture(t, name)
		f.set(ct, string(body))
		sc, err := s.Scrape(t.Context(), epoch, nil)
		if held := errors.Is(err, ErrHeldBack); held != strings.Contains(name, "early") || held != (sc == nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What was held back was never sent, so nothing of it ends.
	sc, err := s.Scrape(t.Context(), epoch.Add(time.Second), nil)
	if err != nil || strings.Contains(dump(sc), "stale") {
		t.Errorf("%v %s", err, dump(sc))
	}
}

func TestScrapeSequence(t *testing.T) {
	reg := func(s string) relabel.Regexp { return relabel.MustNewRegexp(s) }
	tests := []struct {
		name   string
		o      Options
		ct     string
		bodies []string
		want   []string
	}{
		{
			name:   "stale markers once",
			bodies: []string{"a 1\nb 2\n", "a 1\n", "a 3\n", "b 4\na 5\n"},
			want: []string{
				"a 1\nb 2\nup 1\nscrape_samples_scraped 2\nscrape_samples_post_metric_relabeling 2\nscrape_series_added 2\n",
				"a 1\nup 1\nscrape_samples_scraped 1\nscrape_samples_post_metric_relabeling 1\nscrape_series_added 0\nb stale\n",
				"a 3\nup 1\nscrape_samples_scraped 1\nscrape_samples_post_metric_relabeling 1\nscrape_series_added 0\n",
				"b 4\na 5\nup 1\nscrape_samples_scraped 2\nscrape_samples_post_metric_relabeling 2\nscrape_series_added 1\n",
			},
		},
		{
			name:   "failure and recovery",
			bodies: []string{"a 1\n", "a{ 1\n", "a{ 1\n", "a 2\n"},
			want: []string{
				"a 1\nup 1\nscrape_samples_scraped 1\nscrape_samples_post_metric_relabeling 1\nscrape_series_added 1\n",
				"up 0\nscrape_samples_scraped 0\nscrape_samples_post_metric_relabeling 0\nscrape_series_added 0\na stale\n",
				"up 0\nscrape_samples_scraped 0\nscrape_samples_post_metric_relabeling 0\nscrape_series_added 0\n",
				"a 2\nup 1\nscrape_samples_scraped 1\nscrape_samples_post_metric_relabeling 1\nscrape_series_added 0\n",
			},
		},
		{
			name:   "broken in the middle",
			bodies: []string{"a 1\nb 2\n", "a 1\nb{ 2\n"},
			want: []string{
				"a 1\nb 2\nup 1\nscrape_samples_scraped 2\nscrape_samples_post_metric_relabeling 2\nscrape_series_added 2\n",
				"up 0\nscrape_samples_scraped 1\nscrape_samples_post_metric_relabeling 1\nscrape_series_added 0\na stale\nb stale\n",
			},
		},
		{
			name:   "clashing labels",
			bodies: []string{"a{job=\"x\",instance=\"y\",exported_job=\"z\",empty=\"\"} 1\nb{region=\"here\"} 2\n"},
			o:      Options{External: labels.FromStrings("region", "eu", "job", "no")},
			want: []string{
				`a{exported_exported_job="x", exported_instance="y", exported_job="z", region="eu"} 1` + "\n" +
					`b{region="here"} 2` + "\n" +
					`up{region="eu"} 1` + "\n" + `scrape_samples_scraped{region="eu"} 2` + "\n" +
					`scrape_samples_post_metric_relabeling{region="eu"} 2` + "\n" + `scrape_series_added{region="eu"} 2` + "\n",
			},
		},
		{
			name:   "duplicates and clashes with our own",
			bodies: []string{"a{x=\"1\",y=\"2\"} 1\na{y=\"2\",x=\"1\"} 2\na{x=\"1\",y=\"2\"} 3\nup 7\nup{x=\"1\"} 8\n"},
			want: []string{
				`a{x="1", y="2"} 1` + "\n" + `up{x="1"} 8` + "\n" +
					"up 1\nscrape_samples_scraped 5\nscrape_samples_post_metric_relabeling 4\nscrape_series_added 2\n",
			},
		},
		{
			name:   "keep and drop",
			o:      Options{Keep: reg("a.*|b"), Drop: reg("ab")},
			bodies: []string{"a 1\nab 2\nb 3\nbb 4\nup 5\n"},
			want:   []string{"a 1\nb 3\nup 1\nscrape_samples_scraped 5\nscrape_samples_post_metric_relabeling 2\nscrape_series_added 2\n"},
		},
		{
			name: "openmetrics",
			ct:   typeOM,
			bodies: []string{"# TYPE a counter\n# UNIT a_seconds seconds\n# TYPE a_seconds counter\na_seconds_total 5 # {id=\"7\"} 1 1700000000\na_seconds_created 1700000000.5\n" +
				"# TYPE g gauge\ng 3 1000\n# EOF\n"},
			want: []string{"a_seconds_total 5 start=1700000000500\ng 3\n" +
				"up 1\nscrape_samples_scraped 2\nscrape_samples_post_metric_relabeling 2\nscrape_series_added 2\nexemplar 0 {id=\"7\"} 1 1700000000000\n"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			tt.o.Target = f.url
			s := newScraper(t, tt.o)
			for i, body := range tt.bodies {
				ct := tt.ct
				if ct == "" {
					ct = typeText
				}
				f.set(ct, body)
				sc, _ := s.Scrape(t.Context(), epoch.Add(time.Duration(i)*time.Second), nil)
				checkUnique(t, sc)
				if got := dump(sc); got != tt.want[i] {
					t.Errorf("scrape %d:\n%swant\n%s", i, got, tt.want[i])
				}
			}
		})
	}
}

func TestEnd(t *testing.T) {
	for _, down := range []bool{false, true} {
		f := newFake(t)
		f.set(typeText, "a 1\n")
		s := newScraper(t, Options{Target: f.url})
		own := ownScrape(mine(s, "own"))
		if sc := s.End(epoch, down, false); sc != nil {
			t.Errorf("an end before the first scrape: %s", dump(sc))
		}
		if _, err := s.Scrape(t.Context(), epoch, own); err != nil {
			t.Fatal(err)
		}
		up := "stale"
		if down {
			up = "0"
		}
		sc := s.End(epoch, down, false)
		want := "a stale\nup " + up + "\nscrape_duration_seconds stale\nscrape_samples_scraped stale\n" +
			"scrape_samples_post_metric_relabeling stale\nscrape_series_added stale\nown stale\n"
		if got := dump(sc); got != want || sc.Time != epoch.UnixMilli()+1 {
			t.Errorf("down %v: at %d\n%swant\n%s", down, sc.Time, got, want)
		}
		sc, err := s.Scrape(t.Context(), epoch.Add(time.Second), nil)
		if err != nil || !strings.HasPrefix(dump(sc), "a 1\nup 1\n") {
			t.Errorf("after the end: %v\n%s", err, dump(sc))
		}
	}
}

func TestRefused(t *testing.T) {
	s := newScraper(t, Options{Target: "unix:///nonexistent/metrics.sock"})
	sc, err := s.Scrape(t.Context(), epoch, nil)
	if !Refused(err) || !strings.HasPrefix(dump(sc), "up 0\n") || sc.Time != epoch.UnixMilli() {
		t.Errorf("at %d: %v\n%s", sc.Time, err, dump(sc))
	}
	if st := s.Stats(); st.Outcomes[RefusedSocket] != 1 || st.Failed() != 1 || st.Up {
		t.Errorf("%+v", st)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if sc, err := s.Scrape(ctx, epoch, nil); sc != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v\n%s", err, dump(sc))
	}
	if math.IsNaN(s.Stats().Duration.Seconds()) {
		t.Error("no duration")
	}
}
