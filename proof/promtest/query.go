// SPDX-License-Identifier: Apache-2.0

package promtest

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// Query evaluates expr at t. The result is a copy.
func (s *Server) Query(ctx context.Context, expr string, t time.Time) (promql.Vector, error) {
	q, err := s.engine.NewInstantQuery(ctx, s.db, nil, expr, t)
	if err != nil {
		return nil, fmt.Errorf("parse %q: %w", expr, err)
	}
	defer q.Close()
	res := q.Exec(ctx)
	if res.Err != nil {
		return nil, fmt.Errorf("evaluate %q: %w", expr, res.Err)
	}
	switch v := res.Value.(type) {
	case promql.Vector:
		return append(promql.Vector(nil), v...), nil
	case promql.Scalar:
		return promql.Vector{{T: v.T, F: v.V}}, nil
	}
	return nil, fmt.Errorf("evaluate %q: the result is a %s, neither an instant vector nor a scalar", expr, res.Value.Type())
}

// QueryRange evaluates expr from start to end in steps. The result is a copy.
func (s *Server) QueryRange(ctx context.Context, expr string, start, end time.Time, step time.Duration) (promql.Matrix, error) {
	q, err := s.engine.NewRangeQuery(ctx, s.db, nil, expr, start, end, step)
	if err != nil {
		return nil, fmt.Errorf("parse %q: %w", expr, err)
	}
	defer q.Close()
	m, err := q.Exec(ctx).Matrix()
	if err != nil {
		return nil, fmt.Errorf("evaluate %q: %w", expr, err)
	}
	out := make(promql.Matrix, 0, len(m))
	for _, ser := range m {
		out = append(out, promql.Series{
			Metric:     ser.Metric,
			Floats:     append([]promql.FPoint(nil), ser.Floats...),
			Histograms: append([]promql.HPoint(nil), ser.Histograms...),
		})
	}
	return out, nil
}

// Sample is one sample as the TSDB holds it. Of V, H and FH one is meant: H or FH
// where not nil.
type Sample struct {
	// T is in milliseconds.
	T  int64
	V  float64
	H  *histogram.Histogram
	FH *histogram.FloatHistogram
}

// Equal compares times and values, floats by their bits: NaN equals the same NaN
// and no other, 0 is not -0.
func (a Sample) Equal(b Sample) bool {
	if a.T != b.T || (a.H == nil) != (b.H == nil) || (a.FH == nil) != (b.FH == nil) {
		return false
	}
	switch {
	case a.H != nil:
		return a.H.Equals(b.H)
	case a.FH != nil:
		return a.FH.Equals(b.FH)
	}
	return math.Float64bits(a.V) == math.Float64bits(b.V)
}

// Stale reports whether the sample ends its series.
func (a Sample) Stale() bool {
	switch {
	case a.H != nil:
		return value.IsStaleNaN(a.H.Sum)
	case a.FH != nil:
		return value.IsStaleNaN(a.FH.Sum)
	}
	return value.IsStaleNaN(a.V)
}

// String is "value@milliseconds".
func (a Sample) String() string {
	at := "@" + strconv.FormatInt(a.T, 10)
	switch {
	case a.Stale():
		return "stale" + at
	case a.H != nil:
		return a.H.String() + at
	case a.FH != nil:
		return a.FH.String() + at
	case math.IsNaN(a.V):
		return fmt.Sprintf("NaN(%#x)%s", math.Float64bits(a.V), at)
	}
	return strconv.FormatFloat(a.V, 'g', -1, 64) + at
}

// Content is what a TSDB holds: samples in the order of time, by the series'
// labels as labels.Labels.String writes them.
type Content map[string][]Sample

// Samples counts the samples of all series.
func (c Content) Samples() int {
	n := 0
	for _, s := range c {
		n += len(s)
	}
	return n
}

// Samples reads what the TSDB holds of the series that match the selector, as
// {__name__=~".+"}, between two times inclusive; zero times mean all of it. Nothing
// is left out or smoothed over as a query would: stale markers are there.
func (s *Server) Samples(ctx context.Context, selector string, from, to time.Time) (Content, error) {
	out := Content{}
	err := s.each(ctx, selector, from, to, func(l labels.Labels, it chunkenc.Iterator) error {
		samples, err := read(it)
		if len(samples) > 0 {
			out[l.String()] = samples
		}
		return err
	})
	return out, err
}

// Series lists the label sets that match the selector, whenever they had samples.
func (s *Server) Series(ctx context.Context, selector string) ([]labels.Labels, error) {
	var out []labels.Labels
	err := s.each(ctx, selector, time.Time{}, time.Time{}, func(l labels.Labels, _ chunkenc.Iterator) error {
		out = append(out, l)
		return nil
	})
	return out, err
}

// Exemplars reads the exemplars of the series that match the selector.
func (s *Server) Exemplars(ctx context.Context, selector string) ([]exemplar.QueryResult, error) {
	ms, err := s.parser.ParseMetricSelector(selector)
	if err != nil {
		return nil, fmt.Errorf("parse the selector %q: %w", selector, err)
	}
	q, err := s.db.ExemplarQuerier(ctx)
	if err != nil {
		return nil, fmt.Errorf("read exemplars: %w", err)
	}
	return q.Select(-allTime, allTime, ms)
}

func (s *Server) each(ctx context.Context, selector string, from, to time.Time, f func(labels.Labels, chunkenc.Iterator) error) error {
	ms, err := s.parser.ParseMetricSelector(selector)
	if err != nil {
		return fmt.Errorf("parse the selector %q: %w", selector, err)
	}
	mint, maxt := int64(-allTime), int64(allTime)
	if !from.IsZero() {
		mint = from.UnixMilli()
	}
	if !to.IsZero() {
		maxt = to.UnixMilli()
	}
	q, err := s.db.Querier(mint, maxt)
	if err != nil {
		return fmt.Errorf("read the TSDB: %w", err)
	}
	defer q.Close()
	set := q.Select(ctx, true, nil, ms...)
	for set.Next() {
		ser := set.At()
		if err := f(ser.Labels(), ser.Iterator(nil)); err != nil {
			return fmt.Errorf("read %s: %w", ser.Labels(), err)
		}
	}
	if err := set.Err(); err != nil {
		return fmt.Errorf("select %s: %w", selector, err)
	}
	return nil
}

func read(it chunkenc.Iterator) ([]Sample, error) {
	var out []Sample
	for {
		switch it.Next() {
		case chunkenc.ValNone:
			return out, it.Err()
		case chunkenc.ValFloat:
			t, v := it.At()
			out = append(out, Sample{T: t, V: v})
		case chunkenc.ValHistogram:
			t, h := it.AtHistogram(nil)
			out = append(out, Sample{T: t, H: h})
		case chunkenc.ValFloatHistogram:
			t, h := it.AtFloatHistogram(nil)
			out = append(out, Sample{T: t, FH: h})
		}
	}
}
