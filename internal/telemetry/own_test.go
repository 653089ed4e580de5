// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

func own(t *Telemetry) map[string]float64 { return byLabels(t.Own()) }

func byLabels(sc *series.Scrape) map[string]float64 {
	m := map[string]float64{}
	for i, s := range sc.Series {
		m[s.Labels.String()] = sc.Values[i]
	}
	return m
}

func TestStreamCarriesWhatTheRegistryGathers(t *testing.T) {
	s := outage()
	s.Endpoints[0].Lost = lost(map[series.Loss]uint64{series.Refused: 3, series.RingFull: 4})
	tel := newTelemetry(func() State { return s })
	families, err := tel.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			b := labels.NewBuilder(labels.FromStrings("__name__", f.GetName(), "job", "docker", "instance", "host-1", "region", "north", "endpoint", "theirs"))
			for _, l := range m.Label {
				b.Set(l.GetName(), l.GetValue())
			}
			v := m.Counter.GetValue()
			if f.GetType() == dto.MetricType_GAUGE {
				v = m.Gauge.GetValue()
			}
			want[b.Labels().String()] = v
		}
	}
	got := own(tel)
	for _, m := range []map[string]float64{got, want} {
		for k := range m {
			if strings.Contains(k, "process_") {
				m[k] = 0 // moves between the two
			}
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if got[`{__name__="docker_remote_write_samples_dropped_total", endpoint="prod", instance="host-1", job="docker", reason="ring_full", region="north"}`] != 4 {
		t.Errorf("the loss of 4 samples is not in %v", got)
	}
}

func TestFreshProcessHasEveryCounterAtZeroAndFewSeries(t *testing.T) {
	tel := newTelemetry(fresh)
	sc := tel.Own()
	seen := map[string]int{}
	for i, s := range sc.Series {
		name := s.Labels.Get(model.MetricNameLabel)
		seen[name]++
		if !strings.HasPrefix(name, "docker_remote_write_") {
			t.Errorf("%s has not the prefix", name)
		}
		if s.Type == model.MetricTypeCounter && sc.Values[i] != 0 && name != prefix+"process_cpu_seconds_total" {
			t.Errorf("%s is %v on a fresh process", s.Labels, sc.Values[i])
		}
		if s.Help == "" || s.Type == "" {
			t.Errorf("%s lacks metadata", name)
		}
	}
	for _, m := range Metrics() {
		if seen[m.Name] == 0 && m.Type == model.MetricTypeCounter {
			t.Errorf("%s is not there from the start", m.Name)
		}
	}
	if seen[prefix+"samples_dropped_total"] != series.Losses {
		t.Errorf("%d reasons, want %d", seen[prefix+"samples_dropped_total"], series.Losses)
	}
	whole := outage()
	tel = newTelemetry(func() State { return whole })
	if n := len(own(tel)); n > 40 {
		t.Errorf("%d series for one endpoint, at most 40 are wanted", n)
	}
}

func TestSelfMetricsOffLeavesTwo(t *testing.T) {
	s := outage()
	tel := New(Options{State: func() State { return s }, Job: "j", Instance: "i"})
	want := map[string]float64{
		`{__name__="docker_remote_write_build_info", goversion="go1.26", instance="i", job="j", version="1.2.3"}`: 1,
		`{__name__="docker_remote_write_newest_sent_timestamp_seconds", endpoint="prod", instance="i", job="j"}`:  float64(now.Unix() - 720),
	}
	if d := cmp.Diff(want, own(tel)); d != "" {
		t.Error(d)
	}
}

func TestSeriesKeepTheirNumberAndAreReleased(t *testing.T) {
	s := outage()
	s.Endpoints = append(s.Endpoints, EndpointState{Name: "second"})
	tel := newTelemetry(func() State { return s })
	columns := func() []*series.Series {
		t.Helper()
		sc := tel.Own()
		if len(sc.Series) != len(sc.Values) || sc.Len() != len(sc.Series) || tel.o.Series.Len() != sc.Len() {
			t.Fatalf("columns of %d and %d, %d series held", len(sc.Series), len(sc.Values), tel.o.Series.Len())
		}
		return slices.Clone(sc.Series)
	}
	first := columns()
	if again := columns(); !slices.Equal(first, again) {
		t.Error("the same series are others the second time")
	}
	s.Endpoints = s.Endpoints[:1]
	want := slices.DeleteFunc(slices.Clone(first), func(p *series.Series) bool { return p.Labels.Get("endpoint") == "second" })
	if got := columns(); len(want) == len(first) || !slices.Equal(got, want) {
		t.Errorf("%d series became %d, want %d", len(first), len(got), len(want))
	}
}

// A name that an engine sends as well would be two series under one identity.
func TestNoOwnNameIsInAnyCapture(t *testing.T) {
	files, err := filepath.Glob("../../testdata/captures/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no captures: %v", err)
	}
	own := map[string]bool{}
	for _, m := range Metrics() {
		own[m.Name] = true
	}
	name := regexp.MustCompile(`(?m)^(?:# \w+ )?([a-zA-Z_:][a-zA-Z0-9_:]*)`)
	total := 0
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range name.FindAllSubmatch(b, -1) {
			total++
			if own[string(m[1])] {
				t.Errorf("%s has %s", f, m[1])
			}
		}
	}
	if total < 1000 {
		t.Errorf("only %d names were found in the captures", total)
	}
}

func TestOwnAllocatesNothingOfItsOwn(t *testing.T) {
	s := outage()
	tel := newTelemetry(func() State { return s })
	run := func() { tel.Own() }
	run()
	if n := testing.AllocsPerRun(100, run); n > 4 { // the snapshot itself
		t.Errorf("%v allocations a scrape", n)
	}
}

func BenchmarkOwn(b *testing.B) {
	s := outage()
	tel := newTelemetry(func() State { return s })
	b.ReportAllocs()
	for b.Loop() {
		tel.Own()
	}
}

func BenchmarkGather(b *testing.B) {
	s := outage()
	tel := newTelemetry(func() State { return s })
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tel.Gatherer().Gather(); err != nil {
			b.Fatal(err)
		}
	}
}
