// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

func request(h http.Handler, method, target, host string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	r.Host = host
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestSocketServesEverything(t *testing.T) {
	s := outage()
	h := newTelemetry(func() State { return s }).Handler()
	for _, c := range []struct {
		path, contentType, body string
		code                    int
	}{
		{PathHealthy, "text/plain", "alive", 200},
		{PathReady, "text/plain", "ready", 200},
		{PathMetrics, "text/plain; version=0.0.4", `docker_remote_write_queue_seconds{endpoint="prod"} 705`, 200},
		{PathStatus, "application/json", `"healthy": false`, 200},
		{PathPprof, "text/plain", "goroutine\t", 200},
		{PathPprof + "goroutine?debug=2", "text/plain", "TestSocketServesEverything", 200},
		{PathPprof + "heap?gc=1", "application/octet-stream", "\x1f\x8b", 200},
		{PathPprof + "profile?seconds=1", "application/octet-stream", "\x1f\x8b", 200},
		{PathPprof + "trace?seconds=1", "application/octet-stream", "go 1.", 200},
		{PathPprof + "nonsense", "text/plain", "unknown profile", 404},
		{"/nonsense", "text/plain", "not found", 404},
	} {
		t.Run(strings.NewReplacer("/", "_").Replace(c.path), func(t *testing.T) {
			t.Parallel()
			w := request(h, "GET", c.path, "")
			if w.Code != c.code || !strings.HasPrefix(w.Header().Get("Content-Type"), c.contentType) || !strings.Contains(w.Body.String(), c.body) {
				t.Errorf("%d %s %.300q", w.Code, w.Header().Get("Content-Type"), w.Body)
			}
		})
	}
}

func TestReadySaysWhyNot(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*State)
		want   string
	}{
		{"configuration", func(s *State) {
			s.Config.Error, s.Endpoints, s.Targets[0].Running = "REMOTE_WRITE_URL is not set", nil, false
		}, "configuration: REMOTE_WRITE_URL is not set\n"},
		{"before StartMetrics", func(s *State) { s.Targets[0].Running = false }, "scrape: the engine has not called StartMetrics, or has called StopMetrics since\n"},
		{"waiting", func(s *State) { s.Targets[0].Waiting = "the clock says 1970" }, "scrape: the clock says 1970\n"},
		{"engine down", func(s *State) { s.Targets[0].LastError = "dial unix: connection refused" }, "scrape: dial unix: connection refused\n"},
		{"disk", func(s *State) { s.Spool.Error = "write 0001.seg: no space left on device" }, "spool: write 0001.seg: no space left on device\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := outage()
			c.change(&s)
			w := request(newTelemetry(func() State { return s }).Handler(), "GET", PathReady, "")
			if w.Code != http.StatusServiceUnavailable || w.Body.String() != c.want {
				t.Errorf("%d %q, want 503 %q", w.Code, w.Body, c.want)
			}
		})
	}
}

func TestStatusNamesTheFailureTheAgeAndTheNextAttempt(t *testing.T) {
	s := outage()
	tel := newTelemetry(func() State { return s })
	got := tel.State()
	want := []Problem{{
		Severity: Error, Subject: "endpoint prod",
		Text: `503 Service Unavailable: no <healthy> "ingester" found; 48 scrapes wait, the oldest for 11 min; next attempt in 31 s`,
		Hint: "Nothing is lost: scrapes wait on disk and are sent when https://metrics.example/api/v1/write answers again.",
	}}
	if d := cmp.Diff(want, got.Problems); d != "" || got.Healthy || !got.Ready {
		t.Errorf("healthy %v, ready %v\n%s", got.Healthy, got.Ready, d)
	}
	s = fresh()
	if got := tel.State(); !got.Healthy || len(got.Problems) != 0 {
		t.Errorf("after recovery: %+v", got.Problems)
	}
}

func TestStatusSurvivesItsJSON(t *testing.T) {
	s := outage()
	s.Endpoints[0].Lost = lost(map[series.Loss]uint64{series.Poison: 9})
	want := newTelemetry(func() State { return s }).State()
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got State
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestTCPRefusesWhatIsNotForIt(t *testing.T) {
	s := outage()
	tel := newTelemetry(func() State { return s })
	for _, c := range []struct {
		address, method, path, host string
		code                        int
	}{
		{"127.0.0.1:9420", "GET", PathStatus, "127.0.0.1:9420", 200},
		{"127.0.0.1:9420", "GET", PathMetrics, "localhost:9420", 200},
		{"127.0.0.1:9420", "GET", PathHealthy, "LOCALHOST.", 200},
		{"[::1]:9420", "GET", PathReady, "[::1]:9420", 200},
		{"Docker-1.example:9420", "GET", PathReady, "docker-1.example", 200},
		{":9420", "GET", PathReady, "192.0.2.7:9420", 200},
		{"127.0.0.1:9420", "GET", PathStatus, "attacker.example", 421},
		{"127.0.0.1:9420", "GET", PathStatus, "192.0.2.7:9420", 421},
		{"127.0.0.1:9420", "GET", PathStatus, "", 421},
		{":9420", "GET", PathStatus, "attacker.example:9420", 421},
		{"127.0.0.1:9420", "POST", PathStatus, "localhost", 405},
		{"127.0.0.1:9420", "HEAD", PathStatus, "localhost", 405},
		{"127.0.0.1:9420", "OPTIONS", PathStatus, "localhost", 405},
		{"127.0.0.1:9420", "POST", "/MetricsCollector.StartMetrics", "localhost", 405},
		{"127.0.0.1:9420", "GET", "/MetricsCollector.StartMetrics", "localhost", 404},
		{"127.0.0.1:9420", "GET", "/Plugin.Activate", "localhost", 404},
		{"127.0.0.1:9420", "GET", PathPprof, "localhost", 404},
		{"127.0.0.1:9420", "GET", PathPprof + "heap", "localhost", 404},
	} {
		if w := request(tel.TCPHandler(c.address), c.method, c.path, c.host); w.Code != c.code {
			t.Errorf("%s %s with Host %q on %s: %d, want %d", c.method, c.path, c.host, c.address, w.Code, c.code)
		}
	}
}
