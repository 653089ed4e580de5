// SPDX-License-Identifier: Apache-2.0

package remotewrite_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gogo/protobuf/proto"
	"github.com/golang/snappy"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/sirupsen/logrus"

	"github.com/docker-remote-write/docker-remote-write/internal/remotewrite"
	"github.com/docker-remote-write/docker-remote-write/internal/scrape"
	"github.com/docker-remote-write/docker-remote-write/internal/series"
	"github.com/docker-remote-write/docker-remote-write/internal/spool"
)

var update = flag.Bool("update", false, "write the golden requests anew")

var (
	seriesLine = regexp.MustCompile(`(?m)^\{`)
	started    = regexp.MustCompile(`(?m)^\{.* @\d+ from [1-9]`)
	parts      = regexp.MustCompile(`(_bucket|_sum|_count)?"|(, )?(le|quantile)="[^"]*"`)
)

const captures = "../../testdata/captures"

// scraped is the capture as a scrape at a fixed time.
func scraped(t *testing.T, name string, at time.Time) *series.Scrape {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(captures, name))
	if err != nil {
		t.Fatal(err)
	}
	kind := "text/plain; version=0.0.4; charset=utf-8"
	if f, err := os.Open(filepath.Join(captures, name+".headers")); err == nil {
		defer f.Close()
		r := textproto.NewReader(bufio.NewReader(f))
		if _, err := r.ReadLine(); err != nil {
			t.Fatal(err)
		}
		h, err := r.ReadMIMEHeader()
		if err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		kind = h.Get("Content-Type")
	}
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.Write(body)
	}))
	defer target.Close()
	s, err := scrape.New(scrape.Options{Target: target.URL, Job: "docker", Instance: "host.example", Log: silent(), Series: hostNumbers})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close) // the scrape is its own until then
	sc, err := s.Scrape(t.Context(), at, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range sc.Series {
		if x.Labels.Get(model.MetricNameLabel) == "scrape_duration_seconds" {
			sc.Values[i] = 0.25 // the one value that is not in the capture
		}
	}
	sc.Time = at.UnixMilli()
	return sc
}

func silent() logrus.FieldLogger {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return l
}

// sent is the one request that the scrape becomes, as it leaves.
func sent(t *testing.T, sc *series.Scrape, p remotewrite.Protocol) []byte {
	t.Helper()
	var body []byte
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body != nil {
			t.Error("more than one request")
		}
		body, _ = io.ReadAll(r.Body)
		w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", "0")
		w.WriteHeader(http.StatusNoContent)
	}))
	defer receiver.Close()
	u, err := url.Parse(receiver.URL)
	if err != nil {
		t.Fatal(err)
	}
	q, _ := spool.Open(os.DevNull+"/none", spool.Options{Log: silent(), Series: hostNumbers, RingBytes: 64 << 20})
	c, err := q.Claim([]spool.Endpoint{{Name: "golden", URL: receiver.URL}})
	if err != nil {
		t.Fatal(err)
	}
	numbered(sc)
	if _, err := q.Append(t.Context(), sc); err != nil && !errors.Is(err, spool.ErrNotDurable) {
		t.Fatal(err)
	}
	s, err := remotewrite.New(remotewrite.Options{Name: "golden", URL: u, Protocol: p, Log: silent()}, c[0])
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := s.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	return body
}

// render writes a request as text, one line a series, for a reader.
func render(t *testing.T, p remotewrite.Protocol, body []byte) string {
	t.Helper()
	raw, err := snappy.Decode(nil, body)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	lb := labels.NewScratchBuilder(8)
	value := func(v float64) string { return fmt.Sprintf("%v/%016x", v, math.Float64bits(v)) }
	if p == remotewrite.V1 {
		var r prompb.WriteRequest
		if err := proto.Unmarshal(raw, &r); err != nil {
			t.Fatal(err)
		}
		for _, m := range r.Metadata {
			fmt.Fprintf(&b, "# %s %s %q %q\n", m.MetricFamilyName, m.Type, m.Unit, m.Help)
		}
		for _, ts := range r.Timeseries {
			fmt.Fprint(&b, ts.ToLabels(&lb, nil))
			for _, s := range ts.Samples {
				fmt.Fprintf(&b, " %s @%d", value(s.Value), s.Timestamp)
			}
			fmt.Fprintln(&b, ts.Histograms, ts.Exemplars)
		}
		return b.String()
	}
	var r writev2.Request
	if err := proto.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	for _, ts := range r.Timeseries {
		ls, err := ts.ToLabels(&lb, r.Symbols)
		if err != nil {
			t.Fatal(err)
		}
		m, err := ts.ToMetadata(r.Symbols)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(&b, ls)
		for _, s := range ts.Samples {
			fmt.Fprintf(&b, " %s @%d from %d", value(s.Value), s.Timestamp, s.StartTimestamp)
		}
		fmt.Fprintf(&b, " %v %v %s %q %q\n", ts.Histograms, ts.Exemplars, m.Type, m.Unit, m.Help)
	}
	return b.String()
}

// TestGoldenRequests takes every payload captured from an engine through scrape,
// spool and encoding to the request that leaves, in both protocols.
func TestGoldenRequests(t *testing.T) {
	if *update && os.Getenv("CI") == "true" {
		t.Fatal("-update is refused with CI=true: golden requests are reviewed, not made where they are checked")
	}
	var names []string
	for _, pattern := range []string{"*.txt", "*.pb"} {
		found, err := filepath.Glob(filepath.Join(captures, pattern))
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, found...)
	}
	if len(names) != 11 {
		t.Errorf("%d captures, want 11", len(names))
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	starts := map[string]int{"master-fresh.pb": 45, "master-swarm.pb": 1386}
	for _, path := range names {
		name := filepath.Base(path)
		t.Run(name, func(t *testing.T) {
			sc := scraped(t, name, at)
			for _, p := range []remotewrite.Protocol{remotewrite.V2, remotewrite.V1} {
				golden := filepath.Join("testdata", "golden", name+map[remotewrite.Protocol]string{remotewrite.V2: ".v2", remotewrite.V1: ".v1"}[p]+".snappy")
				got := sent(t, sc, p)
				text := render(t, p, got)
				if n := len(seriesLine.FindAllString(text, -1)); n != sc.Len() {
					t.Errorf("%s: %d series in the request, %d in the scrape", p, n, sc.Len())
				}
				if p == remotewrite.V2 {
					// The capture has one for each metric: a histogram's stands at all of its series.
					metrics := map[string]bool{}
					for _, l := range started.FindAllString(text, -1) {
						metrics[parts.ReplaceAllString(l[:strings.LastIndex(l, "} ")], "")] = true
					}
					if n := len(metrics); n != starts[name] {
						t.Errorf("%d start timestamps, want %d", n, starts[name])
					}
				}
				if *update {
					if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(golden, got, 0o644); err != nil {
						t.Fatal(err)
					}
					continue
				}
				want, err := os.ReadFile(golden)
				if errors.Is(err, fs.ErrNotExist) {
					t.Fatalf("%s is missing: run with -update and review it", golden)
				}
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(render(t, p, want), text); d != "" {
					t.Errorf("%s: %s", p, d)
				}
				a, _ := snappy.Decode(nil, want)
				b, _ := snappy.Decode(nil, got)
				if string(a) != string(b) {
					t.Errorf("%s: says the same in other bytes: %d, golden has %d", p, len(b), len(a))
				}
			}
		})
	}
}
