// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"encoding/binary"
	"maps"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// Tags of prometheus.WriteRequest, TimeSeries and Label.
const (
	tagTimeSeriesV1 = 1<<3 | 2
	tagMetadataV1   = 3<<3 | 2
	tagLabelsV1     = 1<<3 | 2
	tagExemplarsV1  = 3<<3 | 2
	tagHistogramsV1 = 4<<3 | 2
	tagLabelName    = 1<<3 | 2
	tagLabelValue   = 2<<3 | 2
)

// metadataEvery is how often 1.0 repeats the metadata of a family, which no
// sample carries there, while it stays the same. Receivers that forget metadata do so after ten minutes or more.
const metadataEvery = 9 * time.Minute

// due reports whether what last arrived at sent, in milliseconds and 0 for never,
// is to be sent again.
func due(sent, now int64) bool {
	return sent == 0 || now-sent >= metadataEvery.Milliseconds() || now < sent
}

func appendLabelV1(dst []byte, name, value string) []byte {
	size := 1 + varintLen(uint64(len(name))) + len(name)
	if value != "" {
		size += 1 + varintLen(uint64(len(value))) + len(value)
	}
	dst = binary.AppendUvarint(append(dst, tagLabelsV1), uint64(size))
	dst = appendBytes(dst, tagLabelName, name)
	if value != "" {
		dst = appendBytes(dst, tagLabelValue, value)
	}
	return dst
}

// family is what 1.0 sends metadata for.
type family struct {
	name string
	// now is what the request says of it: the metadata of its newest series there,
	// whose last sample is from newest, and which stands in that row.
	now     description
	newest  int64
	row     int32
	request uint32
	// told is what last arrived, at sent, in milliseconds; 0 for never.
	told description
	sent int64
}

type description struct {
	typ        model.MetricType
	help, unit string
}

// manyFamilies is the number of families from which on those are forgotten that
// would be sent again in any case, so that those that come and go do not pile up.
const manyFamilies = 1024

// encodeV1 writes the lines of the batch as a 1.0 request.
func (e *encoder) encodeV1(r *request, b *series.Batch, now int64) []byte {
	if len(e.families) > manyFamilies {
		maps.DeleteFunc(e.families, func(_ string, f *family) bool { return due(f.sent, now) })
	}
	e.raw = e.raw[:0]
	for _, l := range e.lines {
		s, h, x := e.gather(r, b, l)
		r.samples += len(s) + len(h)
		r.histograms += len(h)
		if l.family != "" && len(s)+len(h) > 0 {
			e.describe(b, l)
		}
		for len(s)+len(h) > 0 {
			ns, nh := run(s, h)
			e.appendSeriesV1(l, s[:ns], h[:nh], x)
			r.exemplars += len(x)
			s, h, x = s[ns:], h[nh:], nil
		}
	}
	sent := e.fams[:0]
	for _, f := range e.fams {
		if f.now == f.told && !due(f.sent, now) {
			continue
		}
		sent = append(sent, f)
		e.raw = appendMessage(e.raw, tagMetadataV1, &prompb.MetricMetadata{
			Type: prompb.FromMetadataType(f.now.typ), MetricFamilyName: f.name, Help: f.now.help, Unit: f.now.unit,
		})
	}
	e.fams = sent
	return e.raw
}

// describe has the line's family say what its newest series does: of several with
// samples of that time the first in the batch, whose order stays the same.
func (e *encoder) describe(b *series.Batch, l *line) {
	f := e.families[l.family]
	if f == nil {
		f = &family{name: l.family}
		e.families[f.name] = f
	}
	at := ended(&b.Rows[l.newest])
	if f.request != e.request {
		f.request = e.request
		e.fams = append(e.fams, f)
	} else if at < f.newest || at == f.newest && l.newest > f.row {
		return
	}
	s := b.Rows[l.newest].Series
	f.now, f.newest, f.row = description{s.Type, s.Help, s.Unit}, at, l.newest
}

// accepted notes that the receiver has the metadata of the last request.
func (e *encoder) accepted(now int64) {
	for _, f := range e.fams {
		f.told, f.sent = f.now, now
	}
	e.fams = e.fams[:0]
}

func (e *encoder) appendSeriesV1(l *line, s []series.Sample, h []series.HistogramAt, x []series.Exemplar) {
	dst, start, room := openFrame(e.raw, tagTimeSeriesV1, 128+18*len(s)+64*len(h))
	l.labels.Range(func(p labels.Label) { dst = appendLabelV1(dst, p.Name, p.Value) })
	dst = appendSamples(dst, s, false)
	last := int64(0)
	if len(s) > 0 {
		last = s[len(s)-1].T
	} else {
		last = h[len(h)-1].T
	}
	for i := range x {
		m := prompb.Exemplar{Value: x[i].Value, Timestamp: exemplarTime(x[i], last)}
		x[i].Labels.Range(func(p labels.Label) {
			m.Labels = append(m.Labels, prompb.Label{Name: p.Name, Value: p.Value})
		})
		dst = appendMessage(dst, tagExemplarsV1, &m)
	}
	for i := range h {
		m := histogramV1(&h[i])
		dst = appendMessage(dst, tagHistogramsV1, &m)
	}
	e.raw = closeFrame(dst, start, room)
}

func histogramV1(h *series.HistogramAt) prompb.Histogram {
	if h.Float != nil {
		return prompb.FromFloatHistogram(h.T, h.Float)
	}
	return prompb.FromIntHistogram(h.T, h.Int)
}

// customBuckets reports whether 1.0 cannot carry the histogram.
func customBuckets(h series.Histogram) bool {
	if h.Float != nil {
		return histogram.IsCustomBucketsSchema(h.Float.Schema)
	}
	return h.Int != nil && histogram.IsCustomBucketsSchema(h.Int.Schema)
}
