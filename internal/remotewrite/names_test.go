// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
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

// TestEncoderForgets keeps what the encoder knows within what is in use at a time,
// while hundreds of thousands of series come and go, and families and exemplars with them; and
// mixes none up with the one that had its place before.
func TestEncoderForgets(t *testing.T) {
	const width, requests = 1000, 200
	for _, p := range []Protocol{V2, V1} {
		reg := series.NewRegistry()
		e := newEncoder(nil)
		before := make([]*series.Series, 0, width)
		for i := range requests {
			now := int64(i) * 15_000
			b := &series.Batch{Times: []int64{now}, Samples: width}
			for k := range width {
				s := reg.Number(&series.Series{Labels: labels.FromStrings("__name__", fmt.Sprintf("m_%d_%d", i, k)), Help: fmt.Sprint(i)})
				b.Rows = append(b.Rows, series.Row{
					Series: s, Samples: []series.Sample{{T: now, V: 1}}, Exemplars: []series.Exemplar{{Exemplar: exemplar.Exemplar{
						Labels: labels.FromStrings("trace", s.Labels.Get("__name__")), Ts: now, HasTs: true}}}})
			}
			var r request
			e.encode(&r, b, p, now)
			e.accepted(now)
			reg.Release(before)
			before = before[:0]
			for _, row := range b.Rows {
				before = append(before, row.Series)
			}
			if i%100 != 99 {
				continue
			}
			g, err := decode(map[Protocol]string{V1: "application/x-protobuf"}[p], r.body)
			if err != nil {
				t.Fatal(err)
			}
			for k, pt := range g.Points {
				if want := before[k].Labels.String(); pt.Series != want {
					t.Fatalf("%s: sample %d of request %d is of %s, want %s", p, k, i, pt.Series, want)
				}
			}
			// Two scrapes of them are held at a time; families for nine minutes.
			held, told := 3*width, width*int(metadataEvery/(15*time.Second)+2)
			if n := len(e.places); n > held {
				t.Errorf("%s: %d places, want at most %d", p, n, held)
			}
			if n := len(e.symbols.refs) + len(e.changed) + len(e.symbols.texts); n > 2*held {
				t.Errorf("%s: %d symbols, want at most %d", p, n, 2*held)
			}
			if n := len(e.families); n > told {
				t.Errorf("%s: %d families, want at most %d", p, n, told)
			}
		}
	}
}

// TestUnacceptedFamilies: while nothing is accepted families do not pile up either.
func TestUnacceptedFamilies(t *testing.T) {
	e := newEncoder(nil)
	for i := range 10 * manyFamilies {
		var r request
		e.encode(&r, batch([]int64{1}, series.Row{
			Series: &series.Series{Labels: labels.FromStrings("__name__", fmt.Sprint("unaccepted_", i))}, Samples: []series.Sample{{T: 1, V: 1}}}), V1, 1)
	}
	if n := len(e.families); n > manyFamilies+1 {
		t.Errorf("%d families are kept", n)
	}
}

// TestPlaceOfAnother: a series whose place another one got is sent as what it is, also
// where both stand in one batch, and over the other protocol.
func TestPlaceOfAnother(t *testing.T) {
	reg := series.NewRegistry()
	row := func(name string, at int64) series.Row {
		return series.Row{Series: reg.Number(&series.Series{Labels: labels.FromStrings("__name__", name)}), Samples: []series.Sample{{T: at, V: 1}}}
	}
	gone := row("gone.1", 1)
	reg.Release([]*series.Series{gone.Series})
	come := row("come.1", 2)
	if gone.Series.Ref.Index() != come.Series.Ref.Index() || gone.Series.Ref == come.Series.Ref {
		t.Fatalf("numbers %x and %x", gone.Series.Ref, come.Series.Ref)
	}
	e := newEncoder(nil)
	for _, p := range []Protocol{V2, V1, V2} {
		want := map[Protocol][]point{
			V2: {{`{__name__="gone.1"}`, 1, 1}, {`{__name__="come.1"}`, 2, 1}},
			V1: {{`{__name__="gone_1"}`, 1, 1}, {`{__name__="come_1"}`, 2, 1}},
		}[p]
		_, g := encoded(t, e, &series.Batch{Times: []int64{1, 2}, Rows: []series.Row{gone, come}, Samples: 2}, p)
		for i := range g.Points {
			g.Points[i].Series = strings.ReplaceAll(g.Points[i].Series, `{"`, `{__name__="`)
		}
		if d := gocmp.Diff(want, g.Points); d != "" {
			t.Errorf("%s: %s", p, d)
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
			own := *s
			row := series.Row{Series: numbers.Number(&own)}
			for k, at := range b.Times {
				row.Samples = append(row.Samples, series.Sample{T: at, V: float64(k), Start: at - 1})
			}
			b.Rows = append(b.Rows, row)
			b.Samples += len(row.Samples)
		}
		for _, p := range []Protocol{V2, V1} {
			for _, rules := range [][]*relabel.Config{nil, {{Action: relabel.LabelDrop, Regex: relabel.MustNewRegexp("job"), NameValidationScheme: model.UTF8Validation}}} {
				e := newEncoder(rules)
				var r request
				e.encode(&r, &b, p, 1)
				e.accepted(1)
				e.encode(&r, &b, p, 1)
				if a := testing.AllocsPerRun(200, func() { e.encode(&r, &b, p, 1) }); a != 0 {
					t.Errorf("%s with %d series and %d rules: %v allocations a request, want none", p, n, len(rules), a)
				}
			}
		}
	}
}
