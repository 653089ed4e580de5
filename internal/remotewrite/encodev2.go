// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"encoding/binary"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// Tags of io.prometheus.write.v2.Request and TimeSeries.
const (
	tagSymbols      = 4<<3 | 2
	tagTimeSeriesV2 = 5<<3 | 2
	tagLabelRefs    = 1<<3 | 2
	tagHistogramsV2 = 3<<3 | 2
	tagExemplarsV2  = 4<<3 | 2
	tagMetadata     = 5<<3 | 2
	tagMetadataType = 1 << 3
	tagMetadataHelp = 3 << 3
	tagMetadataUnit = 4 << 3
)

// encodeV2 writes the lines of the batch as a 2.0 request. Type, help and unit stand
// with each series in each request: a receiver may make labels of them, and takes
// their absence for a change.
func (e *encoder) encodeV2(r *request, b *series.Batch) []byte {
	e.symbols.describe(e.lines, b.Rows, e.omit.Metadata)
	// The symbols are known when all series are written, and stand in front of them:
	// in the room that is left, which is what they took last time and a little more.
	e.raw = slices.Grow(e.raw[:0], e.head)[:e.head]
	for i, l := range e.lines {
		s, h, x := e.gather(r, b, l)
		r.samples += len(s) + len(h)
		r.histograms += len(h)
		for len(s)+len(h) > 0 {
			ns, nh := run(s, h)
			e.appendSeriesV2(&e.symbols.lines[i], s[:ns], h[:nh], x)
			r.exemplars += len(x)
			s, h, x = s[ns:], h[nh:], nil
		}
	}
	size := e.symbols.size()
	if more := size - e.head; more > 0 {
		e.raw = slices.Insert(e.raw, 0, make([]byte, more)...)
		e.head += more
	}
	whole := e.raw[e.head-size:]
	e.symbols.append(whole[:0])
	e.head = size + size/32
	return whole
}

// appendSeriesV2 writes one TimeSeries.
func (e *encoder) appendSeriesV2(d *lineSymbols, s []series.Sample, h []series.HistogramAt, x []series.Exemplar) {
	y := &e.symbols
	dst, start, room := openFrame(e.raw, tagTimeSeriesV2, 32+18*len(s)+64*len(h))

	dst = binary.AppendUvarint(append(dst, tagLabelRefs), uint64(len(d.refs)))
	dst = append(dst, d.refs...)

	dst = appendSamples(dst, s, true)
	last := int64(0)
	if len(s) > 0 {
		last = s[len(s)-1].T
	}
	for i := range h {
		m := histogramV2(&h[i])
		dst = appendMessage(dst, tagHistogramsV2, &m)
		last = h[i].T
	}
	for i := range x {
		m := writev2.Exemplar{Value: x[i].Value, Timestamp: exemplarTime(x[i], last)}
		x[i].Labels.Range(func(p labels.Label) {
			m.LabelsRefs = append(m.LabelsRefs, y.ref(p.Name), y.ref(p.Value))
		})
		dst = appendMessage(dst, tagExemplarsV2, &m)
	}
	e.raw = closeFrame(append(dst, d.metadata...), start, room)
}

func histogramV2(h *series.HistogramAt) writev2.Histogram {
	start := min(h.Start, h.T)
	if h.Float != nil {
		return writev2.FromFloatHistogram(start, h.T, h.Float)
	}
	return writev2.FromIntHistogram(start, h.T, h.Int)
}
