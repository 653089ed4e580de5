// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/prompb"
	"go.uber.org/goleak"

	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// push sends an exposition as the scrape of one time.
func push(t *testing.T, s *promtest.Server, text string, at time.Time) {
	t.Helper()
	p, err := textparse.New([]byte(text), "text/plain", labels.NewSymbolTable(), textparse.ParserOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var req prompb.WriteRequest
	for {
		e, err := p.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e != textparse.EntrySeries {
			continue
		}
		var l labels.Labels
		p.Labels(&l)
		b := labels.NewBuilder(l)
		if b.Get("job") == "" {
			b.Set("job", "docker")
		}
		_, _, v := p.Series()
		req.Timeseries = append(req.Timeseries, prompb.TimeSeries{
			Labels: prompb.FromLabels(b.Labels(), nil), Samples: []prompb.Sample{{Timestamp: at.UnixMilli(), Value: v}},
		})
	}
	raw, err := req.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequest(http.MethodPost, "http://receiver/api/v1/write", bytes.NewReader(snappy.Encode(nil, raw)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Encoding", "snappy")
	res, err := s.Transport().RoundTrip(r)
	if err != nil || res.StatusCode != 204 {
		t.Fatal(err, res)
	}
}

func receiver(t *testing.T) *promtest.Server {
	t.Helper()
	s, err := promtest.Start(promtest.Options{NoListener: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// added is what the plugin adds to a scrape.
const added = `
up 1
scrape_samples_scraped 409
scrape_duration_seconds 0.0031
up{job="node"} 1
scrape_samples_scraped{job="node"} 1234
scrape_duration_seconds{job="node"} 0.012
node_memory_MemAvailable_bytes{job="node"} 20e9
docker_remote_write_samples_sent_total{endpoint="a"} %SENT%
docker_remote_write_sent_bytes_total{endpoint="a"} 50000
docker_remote_write_requests_total{endpoint="a",protocol="1.0",code="2xx"} 1
docker_remote_write_requests_total{endpoint="a",protocol="2.0",code="2xx"} 9
docker_remote_write_samples_dropped_total{endpoint="a",reason="refused"} 2
docker_remote_write_queue_samples{endpoint="a"} 3
`

func TestFigures(t *testing.T) {
	capture, err := os.ReadFile("../../testdata/captures/v20.10-busy.txt")
	if err != nil {
		t.Fatal(err)
	}
	first := string(capture) + strings.Replace(added, "%SENT%", "1000", 1)
	second := strings.NewReplacer(
		`engine_daemon_container_actions_seconds_count{action="start"} 10`, `engine_daemon_container_actions_seconds_count{action="start"} 14`,
		`engine_daemon_container_actions_seconds_bucket{action="start",le="0.25"} 10`, `engine_daemon_container_actions_seconds_bucket{action="start",le="0.25"} 14`,
		`engine_daemon_container_actions_seconds_bucket{action="start",le="0.5"} 10`, `engine_daemon_container_actions_seconds_bucket{action="start",le="0.5"} 14`,
		`engine_daemon_container_actions_seconds_bucket{action="start",le="1"} 10`, `engine_daemon_container_actions_seconds_bucket{action="start",le="1"} 14`,
		`engine_daemon_container_actions_seconds_bucket{action="start",le="2.5"} 10`, `engine_daemon_container_actions_seconds_bucket{action="start",le="2.5"} 14`,
		`engine_daemon_container_actions_seconds_bucket{action="start",le="5"} 10`, `engine_daemon_container_actions_seconds_bucket{action="start",le="5"} 14`,
		`engine_daemon_container_actions_seconds_bucket{action="start",le="10"} 10`, `engine_daemon_container_actions_seconds_bucket{action="start",le="10"} 14`,
		`engine_daemon_container_actions_seconds_bucket{action="start",le="+Inf"} 10`, `engine_daemon_container_actions_seconds_bucket{action="start",le="+Inf"} 14`,
		`engine_daemon_health_checks_total 4`, `engine_daemon_health_checks_total 11`,
		`engine_daemon_health_checks_failed_total 4`, `engine_daemon_health_checks_failed_total 6`,
		"docker_remote_write_samples_sent_total{endpoint=\"a\"} 1000", "docker_remote_write_samples_sent_total{endpoint=\"a\"} 5000",
		// A kind that was not there when the demo began.
		"# HELP engine_daemon_engine_cpus_cpus", "engine_daemon_container_actions_seconds_count{action=\"unpause\"} 2\n# HELP engine_daemon_engine_cpus_cpus",
	).Replace(first)

	s := receiver(t)
	now := time.Now().Truncate(time.Second)
	push(t, s, first, now.Add(-8*time.Second))
	push(t, s, second, now)
	q := queries{server: s, began: now.Add(-8 * time.Second)}
	f, err := q.read(t.Context(), now)
	if err != nil {
		t.Fatal(err)
	}
	want := figures{
		At: now, Version: "20.10.24+dfsg1", OS: "Debian GNU/Linux 12 (bookworm)", Kernel: "6.18.44-fc-v657", Driver: "overlay2", Architecture: "x86_64",
		CPUs: 2, Memory: 2.5276510208e+10, Up: 1, Series: 409, ScrapeSeconds: 0.0031,
		HostUp: 1, HostSeries: 1234, HostScrapeSeconds: 0.012, Available: 20e9,
		Running: 2, Paused: 1, Stopped: 1,
		Actions: []action{
			{Name: "start", Count: 4, P50: 0.175, P90: 0.235, P99: 0.2485},
			{Name: "unpause", Count: 2, P50: math.NaN(), P90: math.NaN(), P99: math.NaN()},
		},
		Checks: 7, FailedChecks: 2,
		Samples: 5000, SampleRate: 500, Bytes: 50000, Requests: 10, Lost: 2, Waiting: 3, Protocol: "2.0",
	}
	if d := cmp.Diff(want, f, cmpopts.EquateNaNs(), cmpopts.EquateApprox(1e-9, 0),
		cmpopts.IgnoreFields(figures{}, "CPU", "Resident", "Goroutines", "CPUHistory", "MemoryHistory")); d != "" {
		t.Error(d)
	}
	if f.CPU != 0 || !(f.Resident > 1<<20) || !(f.Goroutines > 1) || len(f.MemoryHistory) != 9 {
		t.Error("the daemon's figures:", f.CPU, f.Resident, f.Goroutines, f.MemoryHistory)
	}
	r, err := q.count(t.Context())
	if err != nil || r.Scrapes != 4 || r.Samples <= r.Series || r.Series < 409 {
		t.Error(r, err)
	}
}

func TestNothingReceived(t *testing.T) {
	q := queries{server: receiver(t), began: time.Now()}
	f, err := q.read(t.Context(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, lines := range map[string][]string{"frame": frame(f, about{}), "line": {line(f, about{})}} {
		all := strings.Join(lines, "\n")
		if strings.Contains(all, "NaN") || !strings.Contains(all, "-") {
			t.Errorf("%s shows numbers that are not there:\n%s", name, all)
		}
	}
}

func TestRemoteEngine(t *testing.T) {
	t.Setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
	if err := new(demo).findEngine(t.Context()); err == nil || !strings.Contains(err.Error(), "DOCKER_HOST tcp://192.0.2.1:2375") {
		t.Error(err)
	}
}
