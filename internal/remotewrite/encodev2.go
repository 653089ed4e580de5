// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"encoding/binary"
	"slices"

	"github.com/prometheus/common/model"
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

func metricTypeV2(t model.MetricType) byte { return byte(writev2.FromMetadataType(t)) }

// encodeV2 writes the lines of the batch as a 2.0 request into e.whole. Type, help
// and unit stand with each series in each request: a receiver may make labels of
// them, and takes their absence for a change.
func (e *encoder) encodeV2(r *request, b *series.Batch) {
	y := &e.table.symbols
	y.begin(e.request)
	// The symbols are known when all series are written, and stand in front of them:
	// in the room that is left, which is what they took last time and a little more.
	e.raw = slices.Grow(e.raw[:0], e.head)[:e.head]
	for _, l := range e.lines {
		s, h, x := e.gather(r, b, l)
		r.samples += len(s) + len(h)
		for len(s)+len(h) > 0 {
			ns, nh := run(s, h)
			e.appendSeriesV2(l, s[:ns], h[:nh], x)
			r.exemplars += len(x)
			s, h, x = s[ns:], h[nh:], nil
		}
	}
	if more := y.size - e.head; more > 0 {
		e.raw = slices.Insert(e.raw, 0, make([]byte, more)...)
		e.head += more
	}
	e.whole = e.raw[e.head-y.size:]
	y.append(e.whole[:0])
	e.head = y.size + y.size/32
}

func (e *encoder) appendSeriesV2(l *line, s []series.Sample, h []series.HistogramAt, x []series.Exemplar) {
	y := &e.table.symbols
	dst, start, room := openFrame(e.raw, tagTimeSeriesV2, 32+18*len(s)+64*len(h))

	dst = append(dst, tagLabelRefs, 0)
	refs := len(dst)
	dst = y.appendRefs(dst, l.names)
	dst = closeFrame(dst, refs-1, 1)

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
			m.LabelsRefs = append(m.LabelsRefs, y.passingRef(p.Name), y.passingRef(p.Value))
		})
		dst = appendMessage(dst, tagExemplarsV2, &m)
	}

	if l.typ != 0 || l.help != 0 || l.unit != 0 {
		dst = append(dst, tagMetadata, 0)
		meta := len(dst)
		if l.typ != 0 {
			dst = append(dst, tagMetadataType, l.typ)
		}
		if l.help != 0 {
			dst = binary.AppendUvarint(append(dst, tagMetadataHelp), uint64(y.ref(l.help)))
		}
		if l.unit != 0 {
			dst = binary.AppendUvarint(append(dst, tagMetadataUnit), uint64(y.ref(l.unit)))
		}
		dst[meta-1] = byte(len(dst) - meta)
	}
	e.raw = closeFrame(dst, start, room)
}

func histogramV2(h *series.HistogramAt) writev2.Histogram {
	start := min(h.Start, h.T)
	if h.Float != nil {
		return writev2.FromFloatHistogram(start, h.T, h.Float)
	}
	return writev2.FromIntHistogram(start, h.T, h.Int)
}
