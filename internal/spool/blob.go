// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"encoding/binary"
	"fmt"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// Native histograms and exemplars, which no engine seen so far sends, are one blob
// at the end of a record: the ids of the histograms' series and the indexes of the
// exemplars, then the histograms and exemplars themselves in that order as an
// io.prometheus.write.v2.Request, a format that someone else keeps compatible.

func appendBlob(dst []byte, time int64, hs []series.Histogram, ids []uint32, xs []series.Exemplar) ([]byte, error) {
	dst = binary.AppendUvarint(dst, uint64(len(hs)))
	for _, id := range ids {
		dst = binary.AppendUvarint(dst, uint64(id))
	}
	dst = binary.AppendUvarint(dst, uint64(len(xs)))
	symbols := writev2.NewSymbolTable()
	var req writev2.Request
	for i := range hs {
		h := &hs[i]
		p := writev2.Histogram{}
		if h.Int != nil {
			p = writev2.FromIntHistogram(h.Start, time, h.Int)
		} else if h.Float != nil {
			p = writev2.FromFloatHistogram(h.Start, time, h.Float)
		}
		req.Timeseries = append(req.Timeseries, writev2.TimeSeries{Histograms: []writev2.Histogram{p}})
	}
	for i := range xs {
		x := &xs[i]
		key := uint64(x.Index) << 1
		if x.HasTs {
			key |= 1
		}
		dst = binary.AppendUvarint(dst, key)
		req.Timeseries = append(req.Timeseries, writev2.TimeSeries{Exemplars: []writev2.Exemplar{{
			LabelsRefs: symbols.SymbolizeLabels(x.Labels, nil), Value: x.Value, Timestamp: x.Ts,
		}}})
	}
	req.Symbols = symbols.Symbols()
	b, err := req.Marshal()
	if err != nil {
		return nil, fmt.Errorf("encode histograms and exemplars: %w", err)
	}
	return append(dst, b...), nil
}

// blob reads the rest of s. Exemplars may belong to one of the columns' n floats.
func (s *source) blob(dict []defined, floats int, hs []series.Histogram, xs []series.Exemplar) ([]series.Histogram, []series.Exemplar) {
	count := s.uvarint()
	if count > uint64(len(s.b)) {
		s.fail("too many histograms")
		return hs, xs
	}
	for range count {
		id := s.uvarint()
		if id >= uint64(len(dict)) || dict[id].series == nil {
			s.fail("a histogram of a series that is not defined")
			return hs, xs
		}
		hs = append(hs, series.Histogram{Series: dict[id].series})
	}
	nx := s.uvarint()
	if nx > uint64(len(s.b)) {
		s.fail("too many exemplars")
		return hs, xs
	}
	for range nx {
		key := s.uvarint()
		if key>>1 >= uint64(floats)+count {
			s.fail("an exemplar of a series that is not in the scrape")
			return hs, xs
		}
		xs = append(xs, series.Exemplar{Index: int(key >> 1), Exemplar: exemplar.Exemplar{HasTs: key&1 != 0}})
	}
	var req writev2.Request
	if s.err != nil || req.Unmarshal(s.b) != nil || uint64(len(req.Timeseries)) != count+nx {
		s.fail("histograms and exemplars")
		return hs, xs
	}
	var b labels.ScratchBuilder
	for i := range req.Timeseries {
		ts := &req.Timeseries[i]
		if i < int(count) {
			if len(ts.Histograms) != 1 {
				s.fail("a histogram is missing")
				return hs, xs
			}
			h, p := &hs[len(hs)-int(count)+i], &ts.Histograms[0]
			h.Start = p.StartTimestamp
			if p.IsFloatHistogram() {
				h.Float = p.ToFloatHistogram()
			} else {
				h.Int = p.ToIntHistogram()
			}
			continue
		}
		if len(ts.Exemplars) != 1 {
			s.fail("an exemplar is missing")
			return hs, xs
		}
		x, p := &xs[len(xs)-int(count+nx)+i], &ts.Exemplars[0]
		e, err := p.ToExemplar(&b, req.Symbols)
		if err != nil {
			s.fail("the labels of an exemplar")
			return hs, xs
		}
		x.Labels, x.Value, x.Ts = e.Labels, e.Value, p.Timestamp
	}
	return hs, xs
}
