// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

var described = &series.Series{
	Labels: labels.FromStrings("__name__", "a_seconds_total", "job", "docker"),
	Type:   model.MetricTypeCounter, Help: "What it is.", Unit: "seconds",
}

// TestMetadataEachTime: over 2.0 type, help and unit are with every series in every
// request, whatever was accepted before and whatever the time: a receiver takes what
// is missing for a change. Over 1.0 they come once in a while. With Omit neither ever
// has any of the three.
func TestMetadataEachTime(t *testing.T) {
	for _, omit := range []bool{false, true} {
		for _, p := range []Protocol{V2, V1} {
			e := newEncoder(nil)
			e.omit.Metadata = omit
			const start = 1_800_000_000_000
			for i, after := range []time.Duration{0, time.Second, metadataEvery, 2 * metadataEvery, -time.Minute} {
				at := start + int64(i)
				now := start + after.Milliseconds()
				var r request
				e.encode(&r, batch([]int64{at}, series.Row{Series: described, Samples: []series.Sample{{T: at, V: 1}}}), p, now)
				g, err := decode(map[Protocol]string{V1: "application/x-protobuf"}[p], r.body)
				if err != nil {
					t.Fatal(err)
				}
				e.accepted(now)
				if p == V1 {
					want := 1
					if omit || i == 1 {
						want = 0
					}
					if n := len(g.V1.Metadata); n != want {
						t.Errorf("omit=%v request %d: %d of metadata, want %d", omit, i, n, want)
					}
					continue
				}
				m, y := g.V2.Timeseries[0].Metadata, g.V2.Symbols
				typ, help, unit := writev2.Metadata_METRIC_TYPE_COUNTER, "What it is.", "seconds"
				if omit {
					typ, help, unit = writev2.Metadata_METRIC_TYPE_UNSPECIFIED, "", ""
				}
				if m.Type != typ || y[m.HelpRef] != help || y[m.UnitRef] != unit {
					t.Errorf("omit=%v request %d: %v, %q, %q", omit, i, m.Type, y[m.HelpRef], y[m.UnitRef])
				}
				for _, s := range y {
					if omit && (s == "What it is." || s == "seconds") {
						t.Errorf("request %d has the symbol %q", i, s)
					}
				}
			}
		}
	}
}

// TestChangedMetadata: a type or help that changed is sent with the next request, over
// 1.0 without waiting for its turn, and what has samples of before and after says what
// the newest does: as from Prometheus' own sender, which looks up the metadata of a
// series when it sends.
func TestChangedMetadata(t *testing.T) {
	as := func(typ model.MetricType, help string, at int64) series.Row {
		return series.Row{Series: &series.Series{Labels: labels.FromStrings("__name__", "a", "job", "docker"), Type: typ, Help: help},
			Samples: []series.Sample{{T: at, V: 1}}}
	}
	first, second := as(model.MetricTypeGauge, "first", 1), as(model.MetricTypeCounter, "second", 2)
	const gauge, counter = "a gauge first", "a counter second"
	for name, c := range map[string]struct {
		batches [][]series.Row
		want    [][2]string // over 2.0 and 1.0, "" for nothing
	}{
		"one by one": {[][]series.Row{{first}, {second}, {as(model.MetricTypeCounter, "second", 3)}},
			[][2]string{{gauge, gauge}, {counter, counter}, {counter, ""}}},
		"merged": {[][]series.Row{{first, second}, {as(model.MetricTypeCounter, "second", 3)}},
			[][2]string{{counter, counter}, {counter, ""}}},
		"merged behind the first": {[][]series.Row{{first}, {as(model.MetricTypeGauge, "first", 2), as(model.MetricTypeCounter, "second", 3)}},
			[][2]string{{gauge, gauge}, {counter, counter}}},
		"back again": {[][]series.Row{{first}, {second}, {as(model.MetricTypeGauge, "first", 3)}},
			[][2]string{{gauge, gauge}, {counter, counter}, {gauge, gauge}}},
		"help alone, the newest in front": {[][]series.Row{{as(model.MetricTypeGauge, "second", 2), as(model.MetricTypeGauge, "first", 1)}, {as(model.MetricTypeGauge, "first", 3)}},
			[][2]string{{"a gauge second", "a gauge second"}, {gauge, gauge}}},
	} {
		t.Run(name, func(t *testing.T) {
			e2, e1 := newEncoder(nil), newEncoder(nil)
			for i, rows := range c.batches {
				b := batch([]int64{1, 2, 3}, rows...)
				now := int64(1_800_000_000_000 + i)
				_, g := encoded(t, e2, b, V2)
				e2.accepted(now)
				var got [2]string
				if len(g.V2.Timeseries) != 1 {
					t.Fatalf("request %d: %d series, want 1", i, len(g.V2.Timeseries))
				}
				m, err := g.V2.Timeseries[0].ToMetadata(g.V2.Symbols)
				if err != nil {
					t.Fatal(err)
				}
				got[0] = fmt.Sprintf("a %s %s", m.Type, m.Help)
				var r request
				e1.encode(&r, b, V1, now)
				if g, err = decode("application/x-protobuf", r.body); err != nil {
					t.Fatal(err)
				}
				e1.accepted(now)
				for _, m := range g.V1.Metadata {
					got[1] += fmt.Sprintf("%s %s %s", m.MetricFamilyName, strings.ToLower(m.Type.String()), m.Help)
				}
				if got != c.want[i] {
					t.Errorf("request %d says %q over 2.0 and %q over 1.0, want %q", i, got[0], got[1], c.want[i])
				}
			}
		})
	}
}

// TestFamilyOfSeveral: over 1.0 a family says what its newest series does, and where
// several have a sample of that time always what the same one does, in whatever order
// they stand in the request, so that it is not sent over and over.
func TestFamilyOfSeveral(t *testing.T) {
	as := func(le, help string, vs ...float64) series.Row {
		r := series.Row{Series: &series.Series{Labels: labels.FromStrings("__name__", "several_bucket", "le", le), Type: model.MetricTypeHistogram, Help: help}}
		for i, v := range vs {
			r.Samples = append(r.Samples, series.Sample{T: int64(i), V: v})
		}
		return r
	}
	rising := []float64{0, 1, 2, 3, 4, 5, 6, 7}
	falling := []float64{7, 6, 5, 4, 3, 2, 1, 0}
	e := newEncoder(nil)
	for i, c := range []struct {
		rows []series.Row
		want string
	}{
		{[]series.Row{as("1", "one", rising...), as("2", "two", falling...)}, "one"},
		{[]series.Row{as("1", "one", falling...), as("2", "two", rising...)}, ""},
		{[]series.Row{as("1", "one", falling[:4]...), as("2", "two", rising...)}, "two"},
	} {
		var r request
		e.encode(&r, batch([]int64{0, 1, 2, 3, 4, 5, 6, 7}, c.rows...), V1, 1)
		g, err := decode("application/x-protobuf", r.body)
		if err != nil {
			t.Fatal(err)
		}
		e.accepted(1)
		got := ""
		for _, m := range g.V1.Metadata {
			got += m.MetricFamilyName + " " + m.Help
		}
		if c.want != "" {
			c.want = "several " + c.want
		}
		if got != c.want {
			t.Errorf("request %d says %q, want %q", i, got, c.want)
		}
	}
}
