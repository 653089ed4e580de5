// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	promscrape "github.com/prometheus/prometheus/scrape"

	"github.com/docker-remote-write/docker-remote-write/internal/config"
	"github.com/docker-remote-write/docker-remote-write/proof/engine"
)

// target is what the settings make of a URL.
func target(t *testing.T, url string, settings ...string) config.ScrapeTarget {
	t.Helper()
	cfg, _, err := config.Load(config.Run, append(settings, "SCRAPE_TARGET=unix:///metrics.sock", "REMOTE_WRITE_URL=http://receiver.example", "INSTANCE="+instance,
		"DATA_DIR="+t.TempDir(), "EXTRA_TARGETS=name="+url))
	if err != nil {
		t.Fatal(err)
	}
	return cfg.Targets()[1]
}

// trusting is how a target is trusted whose authority is in the file.
func trusting(t *testing.T, file string) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return target(t, "https://secure.example", "EXTRA_TARGETS_CA="+string(pem)).TLS
}

// TestTargets: a target's URL and instance are those that Prometheus makes of the same.
func TestTargets(t *testing.T) {
	for url, c := range map[string]struct{ address, more string }{
		"http://db.example:9100/metrics":    {address: "db.example:9100"},
		"http://db.example:9100":            {address: "db.example:9100"},
		"http://db.example/metrics":         {address: "db.example"},
		"http://db.example/":                {address: "db.example"},
		"http://db.example:80":              {address: "db.example:80"},
		"https://db.example/a/b":            {"db.example", "scheme: https\n  metrics_path: /a/b"},
		"http://[2001:db8::1]:9100/metrics": {address: "[2001:db8::1]:9100"},
		"http://db.example:9115/probe?x=1":  {"db.example:9115", "metrics_path: /probe\n  params: {x: [1]}"},
		"http://127.0.0.2/metrics":          {"127.0.0.2", "relabel_configs: [{target_label: instance, replacement: " + instance + "}]"},
		"http://localhost:9100/metrics":     {"localhost:9100", "relabel_configs: [{target_label: instance, replacement: " + instance + "}]"},
	} {
		cfg, err := promconfig.Load("scrape_configs:\n- job_name: name\n  "+c.more, promslog.NewNopLogger())
		if err != nil {
			t.Fatal(err)
		}
		group := &targetgroup.Group{Targets: []model.LabelSet{{model.AddressLabel: model.LabelValue(c.address)}}}
		theirs, failures := promscrape.TargetsFromGroup(group, cfg.ScrapeConfigs[0], nil, labels.NewBuilder(labels.EmptyLabels()))
		if len(failures) > 0 || len(theirs) != 1 {
			t.Fatal(failures)
		}
		ours := target(t, url, "EXTRA_TARGETS_INSECURE_SKIP_VERIFY=true")
		if was := theirs[0].URL().String(); was != ours.URL {
			t.Errorf("%s: %s is scraped, by Prometheus %s", url, ours.URL, was)
		}
		if was := theirs[0].Labels(labels.NewBuilder(labels.EmptyLabels())); !labels.Equal(was, labels.FromStrings("instance", ours.Instance, "job", ours.Job)) {
			t.Errorf("%s: %s and %s, by Prometheus %s", url, ours.Instance, ours.Job, was)
		}
	}
}

// exporters are programs of the distribution.
var exporters = map[string]func(context.Context) (*engine.Server, error){
	"prometheus-node-exporter": engine.NodeExporter, "prometheus": engine.Prometheus, "victoria-metrics": engine.VictoriaMetrics,
}

// Of a living program lasting are the metrics whose values do not move; passing are series
// that come with its scrapes, and with the devices of other tests.
var (
	lasting = regexp.MustCompile(`_info$|_(start|boot)_time_seconds$|_max_fds$|MemTotal|SwapTotal`)
	passing = regexp.MustCompile(`device="|path="/metrics"`)
)

// TestExporters: of programs that are scraped while they live the series, what is said of
// them, and the values that do not move are the same.
func TestExporters(t *testing.T) {
	var scripts []script
	for name, start := range exporters {
		if _, err := engine.Package(name); err != nil && os.Getenv("CI") != "true" {
			t.Skip(err)
		}
		s, err := start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		to, err := url.Parse(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		transport := &http.Transport{}
		t.Cleanup(transport.CloseIdleConnections)
		forward := (&httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.URL.Path = to.Scheme, to.Host, "/metrics"
		}}).ServeHTTP
		scripts = append(scripts, script{name: name, bodies: []body{forward, forward, forward}})
	}
	for _, d := range play(t, scripts) {
		moved := d.theirs.there && d.ours.there && !d.metaDiffers() && !lasting.MatchString(d.metric())
		if d.scrape == 2 && !moved && !passing.MatchString(d.series) { // the first scrapes bring series of their own
			t.Errorf("%v", &d)
		}
	}
}
