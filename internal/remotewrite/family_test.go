// SPDX-License-Identifier: Apache-2.0

package remotewrite_test

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/textparse"

	"github.com/docker-remote-write/docker-remote-write/internal/remotewrite"
	"github.com/docker-remote-write/docker-remote-write/internal/scrape"
	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// TestFamilies: over 1.0 the families of what a target exposes have the names that
// Prometheus' own parser gives them, in text and in OpenMetrics, whose counters and
// infos are called otherwise than their families; and what was read from disk likewise.
func TestFamilies(t *testing.T) {
	for kind, body := range map[string]string{
		"text/plain; version=0.0.4": "# HELP c_total C.\n# TYPE c_total counter\nc_total 1\n# HELP c A gauge.\n# TYPE c gauge\nc 2\n" +
			"# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n# HELP i_info I.\n# TYPE i_info gauge\ni_info 1\n",
		"application/openmetrics-text; version=1.0.0": "# HELP c C.\n# TYPE c counter\nc_total{a=\"1\"} 1\nc_total{a=\"2\"} 2\n# HELP i I.\n# TYPE i info\ni_info{v=\"1\"} 1\n" +
			"# HELP g_seconds G.\n# TYPE g_seconds gauge\n# UNIT g_seconds seconds\ng_seconds 1\n# HELP s S.\n# TYPE s stateset\ns{s=\"a\"} 1\n" +
			"# HELP h H.\n# TYPE h gaugehistogram\nh_bucket{le=\"+Inf\"} 1\nh_gsum 1\nh_gcount 1\n# HELP t_total T.\n# TYPE t_total counter\nt_total_total 1\n# EOF\n",
	} {
		t.Run(kind, func(t *testing.T) {
			want := []string{"scrape_duration_seconds", "scrape_samples_post_metric_relabeling", "scrape_samples_scraped", "scrape_series_added", "up"}
			var p textparse.Parser = textparse.NewPromParser([]byte(body), nil, false)
			if strings.HasPrefix(kind, "application") {
				p = textparse.NewOpenMetricsParser([]byte(body), nil)
			}
			for {
				e, err := p.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if e == textparse.EntryType {
					name, _ := p.Type()
					want = append(want, string(name))
				}
			}
			slices.Sort(want)

			target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", kind)
				io.WriteString(w, body)
			}))
			defer target.Close()
			s, err := scrape.New(scrape.Options{Target: target.URL, Job: "docker", Instance: "a", Log: silent(), Series: hostNumbers})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			for _, restart := range []bool{false, true} {
				prom := prometheus(t, promtest.Options{})
				h := newHost(t, prom.WriteURL(), remotewrite.V1)
				sc, err := s.Scrape(t.Context(), time.UnixMilli(h.at), nil)
				if err != nil {
					t.Fatal(err)
				}
				h.append(sc)
				if restart {
					h.reopen()
				}
				h.run(nil)
				if d := cmp.Diff(want, slices.Sorted(maps.Keys(prom.Metadata()))); d != "" {
					t.Errorf("restart=%v: %s", restart, d)
				}
			}
		})
	}
}
