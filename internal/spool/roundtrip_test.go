// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"pgregory.net/rapid"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// readAll gives what waits, unmerged, from memory or from disk.
func readAll(t testing.TB, dir string, s *Spool, c *Cursor, fromDisk bool) (rows []series.Row) {
	t.Helper()
	if fromDisk {
		closeSpool(t, s)
		s = mustOpen(t, dir, Options{})
		c = mustClaim(t, s, "a")[0]
	}
	var b series.Batch
	if err := c.Read(ctx(), &b, c.Position(), Limits{}); err != nil {
		t.Fatal(err)
	}
	return b.Rows
}

// TestEverythingComesOutAsItWentIn: metadata, start timestamps, any bit pattern,
// native histograms, exemplars.
func TestEverythingComesOutAsItWentIn(t *testing.T) {
	for name, fromDisk := range map[string]bool{"from memory": false, "from disk": true} {
		t.Run(name, func(t *testing.T) {
			dir := memoryDir(t)
			s := mustOpen(t, dir, Options{})
			c := mustClaim(t, s, "a")[0]
			odd := []float64{
				0, math.Copysign(0, -1), 1, -1, math.MaxFloat64, math.SmallestNonzeroFloat64, math.Inf(1), math.Inf(-1),
				math.Float64frombits(value.StaleNaN), math.Float64frombits(value.NormalNaN), math.Float64frombits(0xfff123456789abcd),
				1 << 53, 1<<53 - 1, -(1 << 53), 0.1, 1e-300, math.Pi, math.Copysign(0, -1), 0,
			}
			var sers []*series.Series
			for i := range odd {
				sers = append(sers, testSeries(i))
			}
			sers[0] = registry.Number(&series.Series{Labels: sers[0].Labels, Help: "Help with \x00 and \u00e4.", Type: model.MetricTypeGauge, Unit: "seconds"})
			sers[1] = registry.Number(&series.Series{Labels: sers[1].Labels, Type: model.MetricTypeUnknown})
			// Neighbours that differ in their family alone, and one that has none again.
			for i, family := range []string{"c", "c", "d", ""} {
				sers[2+i] = registry.Number(&series.Series{Labels: sers[2+i].Labels, Type: model.MetricTypeCounter, Family: family})
			}
			h := registry.Number(&series.Series{Labels: labels.FromStrings("__name__", "native", "job", "x"), Type: model.MetricTypeHistogram})
			ex := exemplar.Exemplar{Labels: labels.FromStrings("trace_id", "abc"), Value: 3, Ts: 1234, HasTs: true}
			var want []series.Row
			rows := map[*series.Series]*series.Row{}
			at := int64(1_800_000_000_000)
			for n := range 2 * len(odd) {
				at += 1000
				sc := &series.Scrape{Time: at}
				for i, sr := range sers {
					sc.Series = append(sc.Series, sr)
					sc.Values = append(sc.Values, odd[(i+n)%len(odd)])
					sc.Starts = append(sc.Starts, at-int64(i*n))
				}
				if n%4 == 3 {
					sc.Starts = nil
				}
				if n%3 == 0 {
					sc.Histograms = []series.Histogram{{Series: h, Start: at - 5, Int: tsdbutil.GenerateTestHistogram(int64(n))}}
				} else if n%3 == 1 {
					sc.Histograms = []series.Histogram{{Series: h, Float: tsdbutil.GenerateTestFloatHistogram(int64(n))}}
				}
				if n%5 == 0 {
					sc.Exemplars = []series.Exemplar{{Index: 2, Exemplar: ex}}
					if len(sc.Histograms) > 0 {
						sc.Exemplars = append(sc.Exemplars, series.Exemplar{Index: len(sers), Exemplar: exemplar.Exemplar{Value: 1}})
					}
				}
				mustAppend(t, s, sc)
				row := func(sr *series.Series) *series.Row {
					if rows[sr] == nil {
						rows[sr] = &series.Row{Series: sr}
					}
					return rows[sr]
				}
				for i, sr := range sc.Series {
					smp := series.Sample{T: at, V: sc.Values[i]}
					if sc.Starts != nil {
						smp.Start = sc.Starts[i]
					}
					row(sr).Samples = append(row(sr).Samples, smp)
				}
				for _, x := range sc.Histograms {
					row(h).Histograms = append(row(h).Histograms, series.HistogramAt{T: at, Histogram: x})
				}
				for _, x := range sc.Exemplars {
					sr := h
					if x.Index < len(sers) {
						sr = sers[x.Index]
					}
					row(sr).Exemplars = append(row(sr).Exemplars, x)
				}
			}
			for _, sr := range append(sers, h) {
				want = append(want, *rows[sr])
			}
			got := readAll(t, dir, s, c, fromDisk)
			bits := cmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) })
			ls := cmp.Comparer(labels.Equal)
			if d := cmp.Diff(want, got, bits, ls, cmpopts.EquateEmpty(), cmpopts.IgnoreUnexported(histogram.Histogram{}, histogram.FloatHistogram{})); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

// TestValues: any column of any bit patterns survives the value codec.
func TestValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 50).Draw(t, "series")
		last, lastGot := make([]defined, n), make([]defined, n)
		order := make([]uint32, n)
		for i := range order {
			order[i] = uint32(i)
		}
		for range 4 {
			values := rapid.SliceOfN(rapid.OneOf(
				rapid.Float64(), rapid.Map(rapid.Uint64(), math.Float64frombits),
				rapid.Map(rapid.IntRange(-300, 300), func(i int) float64 { return float64(i) }),
				rapid.Map(rapid.Int64(), func(i int64) float64 { return float64(i) }),
			), n, n).Draw(t, "values")
			times := rapid.SliceOfN(rapid.Int64(), n, n).Draw(t, "starts")
			order = rapid.Permutation(order).Draw(t, "order")
			b := appendOrder(nil, order)
			b = appendValues(b, order, values, last)
			b = appendStarts(b, order, times, last)
			src := source{b: b}
			gotOrder := src.order(nil, n, n)
			got, gotTimes := make([]float64, n), make([]int64, n)
			src.values(gotOrder, lastGot, got)
			src.starts(gotOrder, lastGot, gotTimes)
			if src.err != nil || len(src.b) != 0 {
				t.Fatalf("%v, %d bytes left", src.err, len(src.b))
			}
			for i := range values {
				if math.Float64bits(values[i]) != math.Float64bits(got[i]) || times[i] != gotTimes[i] || order[i] != gotOrder[i] {
					t.Fatalf("%d: %v %d instead of %v %d", i, got[i], gotTimes[i], values[i], times[i])
				}
			}
		}
	})
}

// TestNoAllocationPerSeries: neither storing nor reading allocates in proportion
// to the number of series once their buffers are warm.
func TestNoAllocationPerSeries(t *testing.T) {
	if testing.CoverMode() != "" {
		t.Skip("coverage counters change what allocates")
	}
	const n = 2000
	s := mustOpen(t, memoryDir(t), Options{})
	c := mustClaim(t, s, "dead")[0]
	g := newTarget(n)
	scs := []*series.Scrape{g.next(), g.next()}
	i := 0
	add := func() {
		sc := scs[i%2]
		g.time += 15_000
		sc.Time = g.time
		for k := range sc.Values {
			sc.Values[k]++
		}
		i++
		mustAppend(t, s, sc)
	}
	for range 30 {
		add()
	}
	if got := testing.AllocsPerRun(100, add); got > 40 {
		t.Errorf("Append allocates %v times for %d series", got, n)
	}
	var b series.Batch
	read := func(from series.Position, scrapes int) {
		if err := c.Read(ctx(), &b, from, Limits{Scrapes: scrapes}); err != nil {
			t.Fatal(err)
		}
		if len(b.Times) != scrapes {
			t.Fatalf("%d scrapes", len(b.Times))
		}
	}
	tail := series.Position{Scrape: uint64(i - 3), Count: n * uint64(i-4)}
	read(tail, 4)
	if got := testing.AllocsPerRun(50, func() { read(tail, 4) }); got > 10 {
		t.Errorf("reading from memory allocates %v times", got)
	}
	disk := c.Position()
	for range 5 {
		read(disk, 10)
		disk = b.To
	}
	if got := testing.AllocsPerRun(5, func() { read(disk, 10); disk = b.To }); got > 40 {
		t.Errorf("reading from disk allocates %v times for %d series", got, n)
	}
}

// TestPointersStand: one series has one pointer, over segments, a restart and from
// disk as from memory, for as long as somebody holds it.
func TestPointersStand(t *testing.T) {
	dir := memoryDir(t)
	s := mustOpen(t, dir, Options{})
	mustClaim(t, s, "a")
	g := newTarget(4)
	for range 3 * 240 {
		mustAppend(t, s, g.next())
	}
	closeSpool(t, s)
	s = mustOpen(t, dir, Options{})
	c := mustClaim(t, s, "a")[0]
	mustAppend(t, s, newTargetAt(4, g.time).next()) // the scraper's own, new pointers
	seen := map[string]*series.Series{}
	var b series.Batch
	for {
		if err := c.Read(ctx(), &b, c.Position(), Limits{Scrapes: 50}); err != nil {
			t.Fatal(err)
		}
		if b.To == b.From {
			break
		}
		if len(b.Rows) != 4 {
			t.Fatalf("%d rows for 4 series", len(b.Rows))
		}
		for _, r := range b.Rows {
			key := r.Series.Labels.String()
			if seen[key] != nil && seen[key] != r.Series {
				t.Fatalf("%s has two pointers", key)
			}
			seen[key] = r.Series
		}
		if err := ack(c, b.To, series.Tally{Delivered: uint64(b.Samples)}); err != nil {
			t.Fatal(err)
		}
	}
	if len(seen) != 4 {
		t.Errorf("%d series", len(seen))
	}
}

func newTargetAt(n int, at int64) *target {
	g := newTarget(n)
	g.time = at
	return g
}
