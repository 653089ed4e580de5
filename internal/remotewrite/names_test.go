// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"fmt"
	"math"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/model/value"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"pgregory.net/rapid"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// TestNames sends UTF-8 names as they are over 2.0 and escaped over 1.0, where
// series that become equal neither collide nor vanish without being counted.
func TestNames(t *testing.T) {
	row := func(v float64, at int64, ls ...string) series.Row {
		return series.Row{Series: &series.Series{Labels: labels.FromStrings(ls...)}, Samples: []series.Sample{{T: at, V: v}}}
	}
	b := batch([]int64{1, 2},
		row(1, 1, "__name__", "a.b"),
		row(2, 1, "__name__", "a_b"),
		row(3, 2, "__name__", "a_b"), // another copy of the series before
		row(math.Float64frombits(value.StaleNaN), 1, "__name__", "c.d"),
		row(4, 1, "__name__", "c_d"),
		row(5, 1, "__name__", "e", "k.k", "1"),
		row(6, 1, "__name__", "e", "k.k", "1", "k_k", "2"),
		row(7, 1, "__name__", "f:g", "h:i", "1"),
		row(8, 1, "__name__", "größe"),
	)
	_, g := encoded(t, newEncoder(nil), b, V2)
	if len(g.Points) != 9 {
		t.Errorf("2.0 has %d samples, want 9", len(g.Points))
	}
	r, g := encoded(t, newEncoder(nil), b, V1)
	want := []point{
		{`{__name__="a_b"}`, 1, 1}, {`{__name__="a_b"}`, 2, 3}, {`{__name__="c_d"}`, 1, 4},
		{`{__name__="e", k_k="1"}`, 1, 5}, {`{__name__="f:g", h_i="1"}`, 1, 7}, {`{__name__="gr__e"}`, 1, 8},
	}
	sortPoints(g.Points)
	if d := gocmp.Diff(want, g.Points); d != "" {
		t.Error(d)
	}
	if n := r.dropped.Lost[series.Unsupported]; n != 3 {
		t.Errorf("%d counted unsupported, want 3", n)
	}
}

// TestRelabel drops and rewrites by Prometheus' own rules and counts what is gone.
func TestRelabel(t *testing.T) {
	cfg := func(c relabel.Config) *relabel.Config {
		c.NameValidationScheme = model.UTF8Validation
		return &c
	}
	rules := []*relabel.Config{
		cfg(relabel.Config{Action: relabel.Drop, SourceLabels: model.LabelNames{"__name__"}, Regex: relabel.MustNewRegexp("drop.*")}),
		cfg(relabel.Config{Action: relabel.LabelDrop, Regex: relabel.MustNewRegexp("id")}),
		cfg(relabel.Config{Action: relabel.Replace, SourceLabels: model.LabelNames{"__name__"}, Regex: relabel.MustNewRegexp("nameless"), TargetLabel: "__name__", Replacement: "", Separator: ";"}),
	}
	one := func(v float64, ls ...string) series.Row {
		return series.Row{Series: &series.Series{Labels: labels.FromStrings(ls...)}, Samples: []series.Sample{{T: 1, V: v}, {T: 2, V: v}}}
	}
	b := batch([]int64{1, 2}, one(1, "__name__", "dropped"), one(2, "__name__", "kept", "id", "1"), one(3, "__name__", "kept", "id", "2"), one(4, "__name__", "nameless"))
	for _, p := range []Protocol{V2, V1} {
		r, g := encoded(t, newEncoder(rules), b, p)
		if d := gocmp.Diff([]point{{`{__name__="kept"}`, 1, 2}, {`{__name__="kept"}`, 2, 2}}, g.Points); d != "" {
			t.Error(d)
		}
		if n := r.dropped.Lost[series.Relabelled]; n != 6 {
			t.Errorf("%s: %d counted relabelled, want 6", p, n)
		}
	}
}

// TestTableForgets keeps what is cached within bounds while series come and go.
func TestTableForgets(t *testing.T) {
	for _, p := range []Protocol{V2, V1} {
		e := newEncoder(nil)
		most := 0
		for i := range 40 * sweepEvery {
			b := &series.Batch{Times: []int64{1}}
			for k := range 20 {
				b.Rows = append(b.Rows, series.Row{
					Series:  &series.Series{Labels: labels.FromStrings("__name__", fmt.Sprintf("m_%d_%d", i, k)), Help: fmt.Sprint(i)},
					Samples: []series.Sample{{T: 1, V: 1}}})
			}
			b.Samples = 20
			var r request
			e.encode(&r, b, p, 1)
			e.accepted(1)
			most = max(most, len(e.table.known), len(e.table.lines), len(e.table.fams))
		}
		// Twice what one sweep covers, and what it covers itself.
		if limit := 4 * 20 * sweepEvery; most > limit {
			t.Errorf("%s: %d entries were kept, want at most %d", p, most, limit)
		}
	}
}

// TestSamplesAsGenerated compares the samples written by hand with those of the
// generated code, byte for byte.
func TestSamplesAsGenerated(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := series.Sample{T: rapid.Int64().Draw(t, "t"), V: rapid.Float64().Draw(t, "v"), Start: rapid.Int64Range(0, 1<<50).Draw(t, "start")}
		if s.V == 0 {
			s.V = 0 // the generated code drops the sign of zero
		}
		m := writev2.TimeSeries{Samples: []writev2.Sample{{Value: s.V, Timestamp: s.T, StartTimestamp: min(s.Start, s.T)}}}
		if s.Start == 0 {
			m.Samples[0].StartTimestamp = 0
		}
		want, err := m.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		want = want[:len(want)-2] // empty metadata
		if got := appendSamples(nil, []series.Sample{s}, true); string(got) != string(want) {
			t.Fatalf("%+v: %x, want %x", s, got, want)
		}
	})
}

// TestNoAllocations holds the repeated path: a request with warm buffers allocates
// nothing, whatever the number of series.
func TestNoAllocations(t *testing.T) {
	for _, n := range []int{10, 400} {
		q := newQueue(t, n)
		q.fill(t, 24)
		var b series.Batch
		b.Times = make([]int64, 24)
		for i := range b.Times {
			b.Times[i] = 1_700_000_000_000 + int64(i)*15_000
		}
		for _, s := range q.series {
			row := series.Row{Series: s}
			for k, at := range b.Times {
				row.Samples = append(row.Samples, series.Sample{T: at, V: float64(k), Start: at - 1})
			}
			b.Rows = append(b.Rows, row)
			b.Samples += len(row.Samples)
		}
		for _, p := range []Protocol{V2, V1} {
			e := newEncoder(nil)
			var r request
			e.encode(&r, &b, p, 1)
			e.accepted(1)
			e.encode(&r, &b, p, 1)
			if a := testing.AllocsPerRun(200, func() { e.encode(&r, &b, p, 1) }); a != 0 {
				t.Errorf("%s with %d series: %v allocations a request, want none", p, n, a)
			}
		}
	}
}
