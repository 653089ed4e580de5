// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
	"github.com/docker-remote-write/docker-remote-write/internal/spool"
)

// exemplars counts those of a request.
func (g *got) exemplars() (n int) {
	if g.V2 != nil {
		for i := range g.V2.Timeseries {
			n += len(g.V2.Timeseries[i].Exemplars)
		}
		return n
	}
	for i := range g.V1.Timeseries {
		n += len(g.V1.Timeseries[i].Exemplars)
	}
	return n
}

// fillWithExemplars appends n scrapes, the last of which has an exemplar.
func (q *queue) fillWithExemplars(t *testing.T, n int) {
	t.Helper()
	q.fill(t, n-1)
	q.time += 15_000
	sc := &series.Scrape{Time: q.time, Exemplars: []series.Exemplar{{Exemplar: exemplar.Exemplar{
		Labels: labels.FromStrings("trace", "x"), Value: 1, Ts: q.time, HasTs: true}}}}
	for _, s := range q.series {
		sc.Series, sc.Values = append(sc.Series, s), append(sc.Values, 1)
		q.served = append(q.served, point{s.Labels.String(), q.time, 1})
	}
	if _, err := q.Append(t.Context(), sc); err != nil && !errors.Is(err, spool.ErrNotDurable) {
		t.Fatal(err)
	}
}

// TestExemplarsSpoilNothing: a receiver that refuses what has exemplars, and says that
// it wrote nothing of it or says nothing, is asked again without them, and no sample is
// lost. One that says what it wrote has been asked enough.
func TestExemplarsSpoilNothing(t *testing.T) {
	for _, c := range []struct {
		proto   Protocol
		status  int
		written string // of the refusal, "-" for none
		asked   int
	}{
		{V2, 400, "0", 2}, {V2, 409, "-", 2}, {V2, 422, "x", 2}, {V1, 400, "-", 2}, {V1, 409, "-", 2},
		{V2, 400, "12", 1},
	} {
		for _, pin := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s %d %s pin=%v", c.proto, c.status, c.written, pin), func(t *testing.T) {
				rc := newReceiver(t, func(_ int, g *got) reply {
					if g.exemplars() == 0 {
						return ok(g)
					}
					a := reply{Status: c.status, Header: http.Header{}}
					if c.written != "-" {
						a.Header.Set(writtenHeader, c.written)
					}
					return a
				})
				q := newQueue(t, 4)
				o := fast(t, rc.URL)
				if pin || c.proto == V1 {
					o.Protocol = c.proto
				}
				q.learn(t, spool.Learned{V1: c.proto == V1, V2: c.proto == V2})
				s := sender(t, o, q)
				for range 2 {
					q.fillWithExemplars(t, 3)
					before := len(rc.requests())
					drainAll(t, s, q, 4)
					if n := len(rc.requests()) - before; n != c.asked {
						t.Errorf("%d requests, want %d", n, c.asked)
					}
				}
				if tally := q.c.Tally(); tally.Delivered != 24 || tally.Sum() != 24 {
					t.Errorf("%+v", tally)
				}
				if c.asked == 2 {
					q.complete(t, rc, nil)
				}
			})
		}
	}
}

// TestRefusedWithoutExemplars: where exemplars were not what was wrong the refusal is
// final, and nothing is asked for ever.
func TestRefusedWithoutExemplars(t *testing.T) {
	rc := newReceiver(t, func(int, *got) reply { return reply{Status: 400} })
	q := newQueue(t, 4)
	o := fast(t, rc.URL)
	o.Protocol = V2
	s := sender(t, o, q)
	q.fillWithExemplars(t, 1)
	drainAll(t, s, q, 4)
	var seen []int
	for _, g := range rc.requests() {
		seen = append(seen, g.exemplars())
	}
	if tally := q.c.Tally(); tally.Lost[series.Refused] != 4 || fmt.Sprint(seen) != "[1 0]" {
		t.Errorf("%+v, exemplars of the requests %v", tally, seen)
	}
}

// TestOmit: what an endpoint is not to be sent is left out of its requests; native
// histograms are counted, and so is the marker that ends one.
func TestOmit(t *testing.T) {
	h := &histogram.Histogram{Schema: 1, Count: 2, PositiveSpans: []histogram.Span{{Offset: 0, Length: 1}}, PositiveBuckets: []int64{2}}
	x := []series.Exemplar{{Exemplar: exemplar.Exemplar{Labels: labels.FromStrings("trace", "x"), Value: 1, Ts: 7, HasTs: true}}}
	rows := []series.Row{
		{Series: described, Samples: []series.Sample{{T: 7, V: 1}}, Exemplars: x},
		{Series: &series.Series{Labels: labels.FromStrings("__name__", "n"), Type: model.MetricTypeHistogram}, Samples: []series.Sample{{T: 7, V: math.Float64frombits(value.StaleNaN)}}},
		{Series: &series.Series{Labels: labels.FromStrings("__name__", "n_sum"), Type: model.MetricTypeHistogram}, Samples: []series.Sample{{T: 7, V: 1}}},
		{Series: &series.Series{Labels: labels.FromStrings("__name__", "h")}, Histograms: []series.HistogramAt{{T: 7, Histogram: series.Histogram{Int: h}}}, Exemplars: x},
	}
	for _, p := range []Protocol{V2, V1} {
		for _, c := range []struct {
			omit                       Omit
			samples, exemplars, counts int
		}{
			{Omit{}, 4, 2, 0},
			{Omit{Exemplars: true}, 4, 0, 0},
			{Omit{NativeHistograms: true}, 2, 1, 2},
			{Omit{Exemplars: true, NativeHistograms: true}, 2, 0, 2},
		} {
			e := newEncoder(nil)
			e.omit = c.omit
			r, g := encoded(t, e, batch([]int64{7}, rows...), p)
			if r.samples != c.samples || r.exemplars != c.exemplars || g.exemplars() != c.exemplars || r.dropped.Lost[series.Relabelled] != uint64(c.counts) {
				t.Errorf("%s %+v: %d samples, %d exemplars (%d in the request), lost %v", p, c.omit, r.samples, r.exemplars, g.exemplars(), r.dropped.Lost)
			}
			if c.omit.NativeHistograms && g.Proto == V2 && len(g.V2.Timeseries) != 2 {
				t.Errorf("%+v: %d series", c.omit, len(g.V2.Timeseries))
			}
		}
	}
}

// TestExemplarsOfMergedRows: two rows of one series bring both their exemplars, each at
// its own time; of two series that relabelling made one only the first does, since
// together they would not be in order.
func TestExemplarsOfMergedRows(t *testing.T) {
	at := func(ts int64) []series.Exemplar {
		return []series.Exemplar{{Exemplar: exemplar.Exemplar{Value: float64(ts), Ts: ts}}}
	}
	one := labels.FromStrings("__name__", "a.b")
	rows := []series.Row{
		{Series: &series.Series{Labels: one}, Samples: []series.Sample{{T: 7, V: 1}, {T: 8, V: 1}}, Exemplars: at(7)},
		{Series: &series.Series{Labels: one, Help: "New."}, Samples: []series.Sample{{T: 9, V: 1}}, Exemplars: at(9)},
		{Series: &series.Series{Labels: labels.FromStrings("__name__", "a_b")}, Samples: []series.Sample{{T: 10, V: 1}}, Exemplars: at(5)},
	}
	_, g := encoded(t, newEncoder(nil), batch([]int64{7, 8, 9, 10}, rows...), V1)
	var times []int64
	for _, x := range g.V1.Timeseries[0].Exemplars {
		times = append(times, x.Timestamp)
	}
	if len(g.V1.Timeseries) != 1 || fmt.Sprint(times) != "[7 9]" {
		t.Errorf("%d series, exemplars at %v", len(g.V1.Timeseries), times)
	}
}
