// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"math"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/sirupsen/logrus"

	"github.com/docker-remote-write/docker-remote-write/internal/remotewrite"
	"github.com/docker-remote-write/docker-remote-write/internal/scrape"
	"github.com/docker-remote-write/docker-remote-write/internal/series"
	"github.com/docker-remote-write/docker-remote-write/internal/spool"
	"github.com/docker-remote-write/docker-remote-write/proof/engine"
	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// TestCapturesQueriedBack sends every capture to real receivers, the protocol
// left to negotiation, and asks them for every series and its value.
func TestCapturesQueriedBack(t *testing.T) {
	for name, c := range map[string]struct {
		start    func(*testing.T) (api, write string)
		protocol string
		// decimal receivers keep values as decimal fractions and no NaN.
		decimal bool
	}{
		"prometheus": {func(t *testing.T) (string, string) {
			s := server(t, engine.Prometheus, "prometheus")
			return s.URL, s.Write
		}, "1.0", false},
		"victoria-metrics": {func(t *testing.T) (string, string) {
			s := server(t, engine.VictoriaMetrics, "victoria-metrics")
			return s.URL, s.Write
		}, "1.0", true},
		"embedded": {func(t *testing.T) (string, string) {
			r := newReceiver(t, promtest.Options{})
			return r.URL(), r.WriteURL()
		}, "2.0", false},
	} {
		t.Run(name, func(t *testing.T) {
			api, write := c.start(t)
			want, total := map[string]map[string]float64{}, 0
			queue := openSpool(t)
			u, err := url.Parse(write)
			if err != nil {
				t.Fatal(err)
			}
			cursors, err := queue.Claim([]spool.Endpoint{{Name: name, URL: write}})
			if err != nil {
				t.Fatal(err)
			}
			sender, err := remotewrite.New(remotewrite.Options{Name: name, URL: u, Log: logrus.New()}, cursors[0])
			if err != nil {
				t.Fatal(err)
			}
			files, err := filepath.Glob("../../testdata/captures/*.*")
			if err != nil {
				t.Fatal(err)
			}
			at := map[string]time.Time{}
			next := time.Now().Add(-20 * time.Second).Truncate(time.Millisecond)
			for _, f := range files {
				file := filepath.Base(f)
				if ext := filepath.Ext(file); ext != ".txt" && ext != ".pb" {
					continue
				}
				next = next.Add(time.Second)
				at[file] = next
				sc := scrapeCapture(t, file, next)
				want[file] = valuesOf(sc)
				total += len(want[file])
				if _, err := queue.Append(t.Context(), sc); err != nil {
					t.Fatal(err)
				}
			}
			if len(want) != 11 {
				t.Fatalf("%d captures, want 11", len(want))
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := sender.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			if tally := cursors[0].Tally(); tally.Delivered != cursors[0].Appended() {
				t.Errorf("of %d samples %+v", cursors[0].Appended(), tally)
			}
			st := sender.Status()
			if got := st.Protocol.String(); got != c.protocol {
				t.Errorf("sent by remote write %s, want %s", got, c.protocol)
			}
			for file := range want {
				var wrong []string
				eventually(t, "every series of "+file, func() bool {
					wrong = differences(want[file], ask(t, api, file, at[file]), c.decimal)
					return len(wrong) == 0
				})
				if len(wrong) > 0 {
					t.Errorf("%s: %d series differ, such as %s", file, len(wrong), wrong[0])
				}
			}
			tell(t, "%d series of %d captures queried back from %s over remote write %s", total, len(want), name, st.Protocol)
		})
	}
}

func openSpool(t *testing.T) *spool.Spool {
	t.Helper()
	s, err := spool.Open(t.TempDir(), spool.Options{Series: numbers, Log: logrus.New()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// numbers are those of the captures' series.
var numbers = series.NewRegistry()

// scrapeCapture is what the scraper makes of a capture; its name is the instance.
func scrapeCapture(t *testing.T, file string, at time.Time) *series.Scrape {
	t.Helper()
	to, _ := target(t, "tcp", capture(t, file))
	s, err := scrape.New(scrape.Options{Target: to, Job: "captures", Instance: file, Series: numbers, Log: logrus.New()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close) // the scrape is its own until then
	sc, err := s.Scrape(t.Context(), at, nil)
	if err != nil {
		t.Fatal(err)
	}
	return sc
}

func valuesOf(sc *series.Scrape) map[string]float64 {
	values := make(map[string]float64, len(sc.Series))
	for i, s := range sc.Series {
		values[s.Labels.String()] = sc.Values[i]
	}
	return values
}

// ask queries all series of an instance at a moment.
func ask(t *testing.T, api, instance string, at time.Time) map[string]float64 {
	t.Helper()
	var data struct {
		Result []struct {
			Metric map[string]string
			Value  [2]any
		}
	}
	query(t, api, "/api/v1/query", url.Values{
		"query":   {fmt.Sprintf("{instance=%q}", instance)},
		"time":    {strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64)},
		"nocache": {"1"},
	}, &data)
	got := make(map[string]float64, len(data.Result))
	for _, r := range data.Result {
		text, _ := r.Value[1].(string)
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatal(err)
		}
		got[labels.FromMap(r.Metric).String()] = v
	}
	return got
}

func differences(want, got map[string]float64, decimal bool) []string {
	var out []string
	for l, w := range want {
		if decimal && math.IsNaN(w) {
			continue
		}
		g, ok := got[l]
		switch {
		case !ok:
			out = append(out, l+" is not there")
		case math.IsNaN(w) && math.IsNaN(g), w == g:
		case decimal && math.Abs(w-g) <= 1e-12*math.Abs(w):
		default:
			out = append(out, fmt.Sprintf("%s is %v, want %v", l, g, w))
		}
	}
	for l := range got {
		if _, ok := want[l]; !ok && strings.HasPrefix(l, "{") {
			out = append(out, l+" was never sent")
		}
	}
	return out
}
