// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/docker-remote-write/docker-remote-write/proof/engine"
	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// engineSeries are the label sets that the engine's socket shows, as they are to
// arrive.
func engineSeries(t *testing.T, e *engine.Engine) map[string]bool {
	t.Helper()
	text, err := e.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	p := textparse.NewPromParser([]byte(text), labels.NewSymbolTable(), false)
	out := map[string]bool{}
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if entry == textparse.EntrySeries {
			var l labels.Labels
			p.Labels(&l)
			b := labels.NewBuilder(l)
			b.Set("job", "docker").Set("instance", host)
			out[b.Labels().String()] = true
		}
	}
}

// missingFrom lists the keys of want that got has not.
func missingFrom(want, got map[string]bool) []string {
	var out []string
	for k := range want {
		if !got[k] {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

// query asks a Prometheus API and decodes its data.
func query(t *testing.T, server, path string, params url.Values, data any) {
	t.Helper()
	resp, err := http.Get(server + path + "?" + params.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Status != "success" {
		t.Fatalf("%s: %s %s %v", path, resp.Status, answer.Error, err)
	}
}

// vector evaluates an expression on a server process.
func vector(t *testing.T, server, expr string) []string {
	t.Helper()
	var data struct {
		Result []struct {
			Metric map[string]string
			Value  [2]any
		}
	}
	query(t, server, "/api/v1/query", url.Values{"query": {expr}}, &data)
	var out []string
	for _, r := range data.Result {
		v, _ := r.Value[1].(string)
		out = append(out, v)
	}
	return out
}

// TestPrometheusProcess is the main job: plugin, engine, the distribution's
// Prometheus server, and a query that finds what the engine shows.
func TestPrometheusProcess(t *testing.T) {
	testProcess(t, server(t, engine.Prometheus, "prometheus"))
}

// TestVictoriaMetricsProcess is the same against a receiver that takes a 2.0
// message for an empty 1.0 one.
func TestVictoriaMetricsProcess(t *testing.T) {
	testProcess(t, server(t, engine.VictoriaMetrics, "victoria-metrics"))
}

func testProcess(t *testing.T, s *engine.Server) {
	e := sharedEngine(t)
	p := create(t, e, "REMOTE_WRITE_URL="+s.Write, "SCRAPE_INTERVAL=1s")
	p.enable()
	for _, expr := range []string{"count(engine_daemon_engine_info)", `up{job="docker"} == 1`} {
		eventually(t, expr, func() bool { return slices.Equal(vector(t, s.URL, expr), []string{"1"}) })
	}
	var missing []string
	eventually(t, "every series of the engine", func() bool {
		want := engineSeries(t, e)
		var data []map[string]string
		query(t, s.URL, "/api/v1/series", url.Values{
			"match[]": {`{job="docker"}`},
			"start":   {time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)},
		}, &data)
		got := map[string]bool{}
		for _, m := range data {
			got[labels.FromMap(m).String()] = true
		}
		missing = missingFrom(want, got)
		if len(missing) == 0 {
			tell(t, "%d series of the engine found at %s %s", len(want), s.Name, s.Version)
		}
		return len(missing) == 0
	})
	if len(missing) > 0 {
		t.Errorf("missing: %q", missing)
	}
}

// TestEmbeddedPrometheus is the main job over remote write 2.0, with a look at
// the requests themselves.
func TestEmbeddedPrometheus(t *testing.T) {
	e := sharedEngine(t)
	r := newReceiver(t, promtest.Options{})
	p := create(t, e, "REMOTE_WRITE_URL="+r.WriteURL(), "SCRAPE_INTERVAL=1s")
	p.enable()
	r.up(1, time.Time{})
	r.await("every series of the engine", func() bool {
		series, err := r.Series(t.Context(), `{job="docker"}`)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]bool{}
		for _, l := range series {
			got[l.String()] = true
		}
		return len(missingFrom(engineSeries(t, e), got)) == 0
	})
	var typed, helped, united int
	for _, q := range r.got() {
		if q.Proto() != "2.0" {
			t.Fatalf("a request of protocol %q", q.Proto())
		}
		if agent := q.Header.Get("User-Agent"); !strings.HasPrefix(agent, "docker-remote-write/"+version) {
			t.Errorf("User-Agent %q", agent)
		}
		m, err := q.V2()
		if err != nil {
			t.Fatal(err)
		}
		for _, ts := range m.Timeseries {
			name := nameOf(m.Symbols, ts.LabelsRefs)
			meta := ts.Metadata
			if meta.Type != writev2.Metadata_METRIC_TYPE_UNSPECIFIED {
				typed++
			} else if strings.HasPrefix(name, "engine_") {
				t.Errorf("%s has no type", name)
			}
			if m.Symbols[meta.HelpRef] != "" {
				helped++
			}
			if m.Symbols[meta.UnitRef] != "" {
				united++
			}
		}
	}
	if typed == 0 || helped == 0 {
		t.Errorf("%d series with a type, %d with help", typed, helped)
	}
	tell(t, "of the series sent %d had a type, %d help, %d a unit", typed, helped, united)
}

func nameOf(symbols []string, refs []uint32) string {
	for i := 0; i+1 < len(refs); i += 2 {
		if symbols[refs[i]] == model.MetricNameLabel {
			return symbols[refs[i+1]]
		}
	}
	return ""
}

// TestSecondReceiver moves the plugin to another receiver as a user does.
func TestSecondReceiver(t *testing.T) {
	e := sharedEngine(t)
	first, second := newReceiver(t, promtest.Options{}), newReceiver(t, promtest.Options{})
	p := create(t, e, "REMOTE_WRITE_URL="+first.WriteURL(), "SCRAPE_INTERVAL=1s")
	p.enable()
	first.up(1, time.Time{})
	p.disable()
	p.set("REMOTE_WRITE_URL=" + second.WriteURL())
	event := time.Now()
	p.enable()
	second.up(1, event)
	if s := first.ups(); s[len(s)-1].T > event.UnixMilli() {
		t.Error("the first receiver still gets samples")
	}
}
