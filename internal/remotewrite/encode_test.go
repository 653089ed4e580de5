// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/model/value"
	"pgregory.net/rapid"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// encoded builds a request and decodes it with the generated code.
func encoded(t testing.TB, e *encoder, b *series.Batch, p Protocol) (*request, *got) {
	t.Helper()
	var r request
	e.encode(&r, b, p, time.Now().UnixMilli())
	kind := "application/x-protobuf"
	if p == V2 {
		kind += ";proto=io.prometheus.write.v2.Request"
	}
	g, err := decode(kind, r.body)
	if err != nil {
		t.Fatal(err)
	}
	if g.Raw != r.raw || len(g.Points) != r.samples {
		t.Errorf("request says %d bytes and %d samples, it has %d and %d", r.raw, r.samples, g.Raw, len(g.Points))
	}
	lost, before := uint64(0), uint64(0)
	for i, n := range r.dropped.Lost {
		lost += n
		before += b.Lost[i]
	}
	if uint64(len(g.Points))+lost != uint64(b.Samples)+before {
		t.Errorf("%d sent and %d dropped of %d and %d that were lost before", len(g.Points), lost, b.Samples, before)
	}
	return &r, g
}

// numbers gives the series of tests their numbers, for ever.
var numbers = series.NewRegistry()

// batch numbers the series of the rows.
func batch(times []int64, rows ...series.Row) *series.Batch {
	b := &series.Batch{Times: times, Rows: rows}
	for i, r := range rows {
		rows[i].Series = numbers.Number(r.Series)
		b.Samples += len(r.Samples) + len(r.Histograms)
	}
	return b
}

// TestEncodesWhatItIsGiven compares random batches with what the generated code
// reads from their requests, with one encoder for all of them, so that what is
// cached between requests is tested too.
func TestEncodesWhatItIsGiven(t *testing.T) {
	var known []*series.Series
	for i := range 60 {
		known = append(known, &series.Series{
			Labels: labels.FromStrings("__name__", fmt.Sprintf("m%d_total", i/3), "a", fmt.Sprint(i%3), "zone", "x"),
			Type:   []model.MetricType{model.MetricTypeCounter, model.MetricTypeGauge, model.MetricTypeUnknown}[i%3],
			Help:   fmt.Sprintf("Help %d", i/3), Unit: []string{"", "seconds"}[i%2],
		})
	}
	known = append(known, &series.Series{Labels: labels.FromStrings("__name__", "long", "v", strings.Repeat("0", 300)), Type: model.MetricTypeUnknown})
	for i, s := range known {
		known[i] = numbers.Number(s)
	}
	for _, p := range []Protocol{V2, V1} {
		e := newEncoder(nil)
		rapid.Check(t, func(t *rapid.T) {
			times := rapid.SliceOfNDistinct(rapid.Int64Range(-1000, 1<<43), 1, 30, rapid.ID).Draw(t, "times")
			slices.Sort(times)
			picked := rapid.SliceOfNDistinct(rapid.IntRange(0, len(known)-1), 1, 40, rapid.ID).Draw(t, "series")
			b := &series.Batch{Times: times}
			var want []point
			starts := map[point]int64{}
			for _, k := range picked {
				row := series.Row{Series: known[k]}
				for _, at := range times {
					if rapid.IntRange(0, 3).Draw(t, "skip") == 0 {
						continue
					}
					s := series.Sample{T: at, V: rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{
						0, math.Copysign(0, -1), 1, math.Inf(1), math.NaN(), math.Float64frombits(value.StaleNaN)})).Draw(t, "v")}
					if rapid.Bool().Draw(t, "started") {
						s.Start = max(at-1000, 0)
					}
					row.Samples = append(row.Samples, s)
					q := point{known[k].Labels.String(), at, s.V}
					want = append(want, q)
					starts[point{q.Series, at, 0}] = s.Start
				}
				b.Rows = append(b.Rows, row)
				b.Samples += len(row.Samples)
			}
			var r request
			e.encode(&r, b, p, 1)
			kind := map[Protocol]string{V1: "application/x-protobuf", V2: "v2"}[p]
			g, err := decode(kind, r.body)
			if err != nil {
				t.Fatal(err)
			}
			sortPoints(want)
			sortPoints(g.Points)
			bits := gocmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) })
			if d := gocmp.Diff(want, g.Points, bits); d != "" {
				t.Fatal(d)
			}
			if p == V1 {
				return
			}
			lb := labels.NewScratchBuilder(3)
			for _, ts := range g.V2.Timeseries {
				ls, _ := ts.ToLabels(&lb, g.V2.Symbols)
				for _, s := range ts.Samples {
					want := starts[point{ls.String(), s.Timestamp, 0}]
					if want != 0 {
						want = min(want, s.Timestamp)
					}
					if s.StartTimestamp != want {
						t.Fatalf("start of %s at %d is %d, want %d", ls, s.Timestamp, s.StartTimestamp, want)
					}
				}
				md, err := ts.ToMetadata(g.V2.Symbols)
				if err != nil {
					t.Fatal(err)
				}
				for _, k := range known {
					if labels.Equal(k.Labels, ls) && (md.Help != k.Help || md.Unit != k.Unit || md.Type != k.Type && k.Type != model.MetricTypeUnknown) {
						t.Fatalf("metadata of %s: %+v", ls, md)
					}
				}
			}
		})
	}
}

func sortPoints(p []point) {
	slices.SortFunc(p, func(a, b point) int { return cmp.Or(cmp.Compare(a.Series, b.Series), cmp.Compare(a.T, b.T)) })
}

// TestMetadata10 sends metadata with the first request, and again after a while.
func TestMetadata10(t *testing.T) {
	s := func(name string, typ model.MetricType) series.Row {
		return series.Row{Series: &series.Series{Labels: labels.FromStrings("__name__", name), Type: typ, Help: "h", Unit: "u"}, Samples: []series.Sample{{T: 1, V: 1}}}
	}
	of := func(family, name string, typ model.MetricType) series.Row {
		r := s(name, typ)
		r.Series.Family = family
		return r
	}
	b := batch([]int64{1}, s("h_bucket", model.MetricTypeHistogram), s("h_sum", model.MetricTypeHistogram), s("h_count", model.MetricTypeHistogram),
		of("c", "c_total", model.MetricTypeCounter), of("i", "i_info", model.MetricTypeInfo), s("t_total", model.MetricTypeCounter),
		of("dots.f", "dots.f_total", model.MetricTypeCounter), of("y_sum", "y_sum", model.MetricTypeHistogram),
		s("s", model.MetricTypeSummary), s("s_sum", model.MetricTypeSummary), s("c_count", model.MetricTypeCounter), s("u", model.MetricTypeUnknown),
		of("old", "old_total", model.MetricTypeCounter))
	rename := &relabel.Config{SourceLabels: model.LabelNames{"__name__"}, Regex: relabel.MustNewRegexp("old(.*)"), TargetLabel: "__name__",
		Replacement: "new$1", Action: relabel.Replace, NameValidationScheme: model.UTF8Validation}
	e := newEncoder([]*relabel.Config{rename})
	names := func(now time.Duration) (out []string) {
		var r request
		e.encode(&r, b, V1, now.Milliseconds())
		g, err := decode("application/x-protobuf", r.body)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range g.V1.Metadata {
			out = append(out, fmt.Sprintf("%s %s %s %s", m.MetricFamilyName, m.Type, m.Help, m.Unit))
		}
		return out
	}
	all := []string{"h HISTOGRAM h u", "c COUNTER h u", "i INFO h u", "t_total COUNTER h u", "dots_f COUNTER h u", "y_sum HISTOGRAM h u",
		"s SUMMARY h u", "c_count COUNTER h u", "u UNKNOWN h u", "new_total COUNTER h u"}
	start := 1000 * time.Hour
	if d := gocmp.Diff(all, names(start)); d != "" {
		t.Error("first request:", d)
	}
	if d := gocmp.Diff(all, names(start)); d != "" {
		t.Error("again, since the first was not accepted:", d)
	}
	e.accepted(start.Milliseconds())
	if got := names(start + metadataEvery - time.Millisecond); got != nil {
		t.Error("too early:", got)
	}
	if d := gocmp.Diff(all, names(start+metadataEvery)); d != "" {
		t.Error("a while later:", d)
	}
	if d := gocmp.Diff(all, names(start-time.Hour)); d != "" {
		t.Error("with the clock set back:", d)
	}
}

var (
	intHistogram = &histogram.Histogram{Schema: 1, Count: 6, Sum: 18.4, ZeroThreshold: 0.001, ZeroCount: 2,
		PositiveSpans: []histogram.Span{{Offset: 0, Length: 2}}, PositiveBuckets: []int64{1, 2},
		NegativeSpans: []histogram.Span{{Offset: 1, Length: 1}}, NegativeBuckets: []int64{1}}
	floatHistogram = intHistogram.ToFloat(nil)
	customInt      = &histogram.Histogram{Schema: histogram.CustomBucketsSchema, Count: 3, Sum: 5,
		PositiveSpans: []histogram.Span{{Offset: 0, Length: 2}}, PositiveBuckets: []int64{1, 1}, CustomValues: []float64{1, 2}}
)

// TestHistograms sends every kind of native histogram: all over 2.0, over 1.0 all
// but those with custom buckets, which are counted.
func TestHistograms(t *testing.T) {
	s := &series.Series{Labels: labels.FromStrings("__name__", "h"), Type: model.MetricTypeHistogram}
	b := batch([]int64{10, 20, 30, 40}, series.Row{Series: s, Histograms: []series.HistogramAt{
		{T: 10, Histogram: series.Histogram{Series: s, Start: 5, Int: intHistogram}},
		{T: 20, Histogram: series.Histogram{Series: s, Start: 25, Float: floatHistogram}},
		{T: 30, Histogram: series.Histogram{Series: s, Int: customInt}},
		{T: 40, Histogram: series.Histogram{Series: s, Float: customInt.ToFloat(nil)}},
		{T: 50, Histogram: series.Histogram{Series: s}},
	}})
	r, g := encoded(t, newEncoder(nil), b, V2)
	h := g.V2.Timeseries[0].Histograms
	if len(h) != 4 || r.dropped.Lost[series.Unsupported] != 1 {
		t.Fatalf("%d histograms over 2.0, dropped %+v", len(h), r.dropped)
	}
	if d := gocmp.Diff(intHistogram, h[0].ToIntHistogram()); d != "" {
		t.Error(d)
	}
	if d := gocmp.Diff(floatHistogram, h[1].ToFloatHistogram()); d != "" {
		t.Error(d)
	}
	if !customInt.Equals(h[2].ToIntHistogram()) || !customInt.ToFloat(nil).Equals(h[3].ToFloatHistogram()) {
		t.Errorf("custom buckets: %v, %v", h[2], h[3])
	}
	if h[0].StartTimestamp != 5 || h[1].StartTimestamp != 20 {
		t.Errorf("starts %d and %d, want 5 and, no later than its sample, 20", h[0].StartTimestamp, h[1].StartTimestamp)
	}

	r, g = encoded(t, newEncoder(nil), b, V1)
	h1 := g.V1.Timeseries[0].Histograms
	if len(h1) != 2 || r.dropped.Lost[series.Unsupported] != 3 {
		t.Fatalf("%d histograms over 1.0, dropped %+v", len(h1), r.dropped)
	}
	if d := gocmp.Diff(intHistogram, h1[0].ToIntHistogram()); d != "" {
		t.Error(d)
	}
}

// TestNeverBoth: where a series changes between floats and histograms each
// TimeSeries has one kind, and they stand in time order.
func TestNeverBoth(t *testing.T) {
	s := &series.Series{Labels: labels.FromStrings("__name__", "x")}
	row := series.Row{Series: s}
	for _, at := range []int64{1, 2, 5, 6, 9} {
		row.Samples = append(row.Samples, series.Sample{T: at, V: float64(at)})
	}
	for _, at := range []int64{3, 4, 7, 8} {
		row.Histograms = append(row.Histograms, series.HistogramAt{T: at, Histogram: series.Histogram{Series: s, Int: intHistogram}})
	}
	row.Exemplars = []series.Exemplar{{Exemplar: exemplar.Exemplar{Labels: labels.FromStrings("trace_id", "abc"), Value: 2, Ts: 1, HasTs: true}}}
	for _, p := range []Protocol{V2, V1} {
		r, g := encoded(t, newEncoder(nil), batch([]int64{1, 2, 3, 4, 5, 6, 7, 8, 9}, row), p)
		for i, q := range g.Points {
			if q.T != int64(i+1) {
				t.Errorf("%s: sample %d is from %d", p, i, q.T)
			}
		}
		n := 0
		if p == V1 {
			for i, ts := range g.V1.Timeseries {
				if len(ts.Samples) > 0 && len(ts.Histograms) > 0 {
					t.Errorf("%s: both in one", p)
				}
				if n += len(ts.Exemplars); i == 0 && n != 1 {
					t.Error("no exemplar in the first")
				}
			}
		} else {
			n = len(g.V2.Timeseries[0].Exemplars)
		}
		if n != 1 || r.exemplars != 1 {
			t.Errorf("%s: %d exemplars, the request says %d", p, n, r.exemplars)
		}
	}
}

// TestExemplars rides exemplars with their series, with labels and a time.
func TestExemplars(t *testing.T) {
	s := &series.Series{Labels: labels.FromStrings("__name__", "x")}
	row := series.Row{Series: s, Samples: []series.Sample{{T: 7, V: 1}}, Exemplars: []series.Exemplar{
		{Exemplar: exemplar.Exemplar{Labels: labels.FromStrings("span", "1", "trace", "x"), Value: 3, Ts: 5, HasTs: true}},
		{Exemplar: exemplar.Exemplar{Value: 4}},
	}}
	_, g := encoded(t, newEncoder(nil), batch([]int64{7}, row), V2)
	x := g.V2.Timeseries[0].Exemplars
	b := labels.NewScratchBuilder(2)
	first, err := x[0].ToExemplar(&b, g.V2.Symbols)
	if err != nil || first.Labels.String() != `{span="1", trace="x"}` || first.Value != 3 || first.Ts != 5 {
		t.Errorf("%+v, %v", first, err)
	}
	if x[1].Timestamp != 7 {
		t.Errorf("an exemplar without a time of its own got %d, want its sample's 7", x[1].Timestamp)
	}
	_, g = encoded(t, newEncoder(nil), batch([]int64{7}, row), V1)
	if x := g.V1.Timeseries[0].Exemplars; len(x) != 2 || x[0].Labels[1].Value != "x" || x[1].Timestamp != 7 {
		t.Errorf("%+v", x)
	}
}
