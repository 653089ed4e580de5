// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/sirupsen/logrus"

	"github.com/docker-remote-write/docker-remote-write/internal/remotewrite"
	"github.com/docker-remote-write/docker-remote-write/internal/scrape"
	"github.com/docker-remote-write/docker-remote-write/internal/spool"
	"github.com/docker-remote-write/docker-remote-write/proof/engine"
)

// TestHistogramsOfClientGolang: a histogram that client_golang exposes in both forms
// arrives as its classic buckets, also at receivers that know no other form.
func TestHistogramsOfClientGolang(t *testing.T) {
	reg := prometheus.NewRegistry()
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "seconds", Help: "H.", Buckets: []float64{1, 2}, NativeHistogramBucketFactor: 1.1})
	reg.MustRegister(h)
	for _, v := range []float64{0.5, 1.5, 3} {
		h.Observe(v)
	}
	to := httptest.NewServer(promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	defer to.Close()
	for name, start := range map[string]func(context.Context) (*engine.Server, error){"prometheus": engine.Prometheus, "victoria-metrics": engine.VictoriaMetrics} {
		t.Run(name, func(t *testing.T) {
			receiver := server(t, start, name)
			queue := openSpool(t)
			u, err := url.Parse(receiver.Write)
			if err != nil {
				t.Fatal(err)
			}
			cursors, err := queue.Claim([]spool.Endpoint{{Name: name, URL: receiver.Write}})
			if err != nil {
				t.Fatal(err)
			}
			sender, err := remotewrite.New(remotewrite.Options{Name: name, URL: u, Log: logrus.New()}, cursors[0])
			if err != nil {
				t.Fatal(err)
			}
			s, err := scrape.New(scrape.Options{Target: to.URL, Job: "histograms", Instance: "both", Series: numbers, Log: logrus.New()})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Close)
			at := time.Now().Truncate(time.Millisecond)
			sc, err := s.Scrape(t.Context(), at, nil)
			if err != nil {
				t.Fatal(err)
			}
			want := valuesOf(sc)
			if _, err := queue.Append(t.Context(), sc); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := sender.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			buckets := 0
			for ls := range want {
				if strings.Contains(ls, "seconds_bucket") {
					buckets++
				}
			}
			if tally := cursors[0].Tally(); buckets != 3 || tally.Delivered != cursors[0].Appended() {
				t.Errorf("%d buckets, %+v", buckets, tally)
			}
			var wrong []string
			eventually(t, "every bucket", func() bool {
				wrong = differences(want, ask(t, receiver.URL, "both", at), true)
				return len(wrong) == 0
			})
			for _, w := range wrong {
				t.Error(w)
			}
			tell(t, "%d buckets of a histogram with both forms queried back from %s", buckets, name)
		})
	}
}
