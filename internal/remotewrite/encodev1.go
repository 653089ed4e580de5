// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"time"

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
// sample carries there. Receivers that forget metadata do so after ten minutes or more.
const metadataEvery = 9 * time.Minute

// due reports whether what last arrived at sent, in milliseconds and 0 for never,
// is to be sent again.
func due(sent, now int64) bool {
	return sent == 0 || now-sent >= metadataEvery.Milliseconds() || now < sent
}

func appendLabelV1(dst []byte, name, value string) []byte {
	dst, start, room := openFrame(dst, tagLabelsV1, 4+len(name)+len(value))
	dst = appendBytes(dst, tagLabelName, name)
	if value != "" {
		dst = appendBytes(dst, tagLabelValue, value)
	}
	return closeFrame(dst, start, room)
}

// encodeV1 writes the lines of the batch as a 1.0 request into e.raw.
func (e *encoder) encodeV1(r *request, b *series.Batch, now int64) {
	e.raw = e.raw[:0]
	for _, l := range e.lines {
		s, h, x := e.gather(r, b, l)
		r.samples += len(s) + len(h)
		if f := l.family; f != nil && len(s)+len(h) > 0 && f.request != e.request && due(f.sent, now) {
			f.request = e.request
			e.fams = append(e.fams, f)
		}
		for len(s)+len(h) > 0 {
			ns, nh := run(s, h)
			e.appendSeriesV1(l, s[:ns], h[:nh], x)
			r.exemplars += len(x)
			s, h, x = s[ns:], h[nh:], nil
		}
	}
	for _, f := range e.fams {
		e.raw = appendMessage(e.raw, tagMetadataV1, &prompb.MetricMetadata{
			Type: prompb.FromMetadataType(f.typ), MetricFamilyName: f.name, Help: f.help, Unit: f.unit,
		})
	}
	e.whole = e.raw
}

func (e *encoder) appendSeriesV1(l *line, s []series.Sample, h []series.HistogramAt, x []series.Exemplar) {
	dst, start, room := openFrame(e.raw, tagTimeSeriesV1, len(l.names)+18*len(s)+64*len(h))
	dst = append(dst, l.names...)
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
