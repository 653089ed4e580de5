// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"encoding/binary"
	"math"

	"github.com/prometheus/prometheus/model/value"
)

// pbScript is the shape of a body of length-delimited MetricFamily messages as
// io.prometheus.client defines them:
//
//	MetricFamily  name 1, help 2, type 3, metric 4, unit 5
//	Metric        label 1, gauge 2, counter 3, summary 4, untyped 5, histogram 7
//	Gauge, Counter, Untyped  value 1 (double); Counter also start_timestamp 3
//	Summary       count 1, sum 2, quantile 3 {quantile 1, value 2}, start_timestamp 4
//	Histogram     count 1, sum 2, bucket 3 {count 1, upper_bound 2}, start_timestamp 15
//
// It knows messages that have these fields, in an order that encoders use; every
// other one, exemplars and native histograms among them, is left to textparse.
type pbScript struct {
	families []pbFamily
	metrics  []pbMetric
	// bounds are the quantiles and upper bounds of all metrics in their order.
	bounds []float64
}

// pbFamily is a family: the bytes in front of its metrics and behind them, and the
// number of the metrics.
type pbFamily struct {
	head, tail literal
	metrics    int32
}

// pbMetric is a metric: its labels, the number of its quantiles or buckets, and its
// kind.
type pbMetric struct {
	labels literal
	bounds int32
	kind   byte
	// inf says that textparse adds the bucket +Inf.
	inf bool
}

// Tags of the messages in Metric: field number and wire type 2.
const (
	pbGauge     = 2<<3 | 2
	pbCounter   = 3<<3 | 2
	pbSummary   = 4<<3 | 2
	pbUntyped   = 5<<3 | 2
	pbHistogram = 7<<3 | 2
)

// Tags of fields.
const (
	tagName    = 1<<3 | 2
	tagHelp    = 2<<3 | 2
	tagType    = 3 << 3
	tagMetric  = 4<<3 | 2
	tagUnit    = 5<<3 | 2
	tagLabel   = 1<<3 | 2
	tagValue   = 1<<3 | 1 // of Gauge, Counter, Untyped; quantile of Quantile
	tagCount   = 1 << 3   // of Summary, Histogram, Bucket; seconds of Timestamp
	tagNanos   = 2 << 3
	tagSum     = 2<<3 | 1 // of Summary, Histogram; value of Quantile; bound of Bucket
	tagPart    = 3<<3 | 2 // quantile, bucket; start_timestamp of Counter
	tagSumST   = 4<<3 | 2 // start_timestamp of Summary
	tagHistoST = 15<<3 | 2
)

// kinds by the number of MetricType.
var pbKinds = [...]byte{pbCounter, pbGauge, pbSummary, pbUntyped, pbHistogram, pbHistogram}

// cut takes a length and as many bytes off b.
func cut(b []byte) (msg, rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, nil, false
	}
	n, k := uint64(b[0]), 1
	if n >= 0x80 {
		if n, k = binary.Uvarint(b); k <= 0 {
			return nil, nil, false
		}
	}
	if n > uint64(len(b)-k) {
		return nil, nil, false
	}
	return b[k : k+int(n)], b[k+int(n):], true
}

// uvarint takes a number off b.
func uvarint(b []byte) (n uint64, rest []byte, ok bool) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), b[1:], true
	}
	n, k := binary.Uvarint(b)
	if k <= 0 {
		return 0, nil, false
	}
	return n, b[k:], true
}

// double takes a double off b.
func double(b []byte) (v float64, rest []byte, ok bool) {
	if len(b) < 8 {
		return 0, nil, false
	}
	v = math.Float64frombits(binary.LittleEndian.Uint64(b))
	if value.IsStaleNaN(v) {
		v = math.Float64frombits(value.NormalNaN)
	}
	return v, b[8:], true
}

// compile records the shape of b.
func (s *pbScript) compile(b []byte) bool {
	s.families, s.metrics, s.bounds = s.families[:0], s.metrics[:0], s.bounds[:0]
	for len(b) > 0 {
		m, rest, ok := cut(b)
		if !ok {
			return false
		}
		b = rest
		kind, head, ok := pbHead(m)
		if !ok {
			return false
		}
		f := pbFamily{head: literalOf(m[:head])}
		m = m[head:]
		for len(m) > 0 && m[0] == tagMetric {
			x, rest, ok := cut(m[1:])
			if !ok || !s.compileMetric(x, kind) {
				return false
			}
			f.metrics++
			m = rest
		}
		if len(m) > 0 {
			if _, rest, ok := cut(m[1:]); m[0] != tagUnit || !ok || len(rest) > 0 {
				return false
			}
		}
		f.tail = literalOf(m)
		s.families = append(s.families, f)
	}
	return true
}

// pbHead measures the fields in front of a family's metrics.
func pbHead(m []byte) (kind byte, n int, ok bool) {
	kind = pbKinds[0]
	b := m
	for len(b) > 0 {
		switch b[0] {
		case tagName, tagHelp:
			if _, b, ok = cut(b[1:]); !ok {
				return 0, 0, false
			}
		case tagType:
			var t uint64
			if t, b, ok = uvarint(b[1:]); !ok || t >= uint64(len(pbKinds)) {
				return 0, 0, false
			}
			kind = pbKinds[t]
		default:
			return kind, len(m) - len(b), true
		}
	}
	return kind, len(m), true
}

func (s *pbScript) compileMetric(x []byte, kind byte) bool {
	b := x
	for len(b) > 0 && b[0] == tagLabel {
		var ok bool
		if _, b, ok = cut(b[1:]); !ok {
			return false
		}
	}
	if len(b) == 0 || b[0] != kind {
		return false
	}
	labels := literalOf(x[:len(x)-len(b)])
	msg, rest, ok := cut(b[1:])
	if !ok || len(rest) > 0 {
		return false
	}
	m := pbMetric{labels: labels, kind: kind}
	if kind == pbSummary || kind == pbHistogram {
		first := len(s.bounds)
		for len(msg) > 0 {
			switch tag := msg[0]; tag {
			case tagCount:
				_, msg, ok = uvarint(msg[1:])
			case tagSum:
				_, msg, ok = double(msg[1:])
			case tagPart:
				var part []byte
				if part, msg, ok = cut(msg[1:]); !ok {
					return false
				}
				var bound float64
				if kind == pbSummary {
					_, bound, ok = pbQuantile(part)
				} else {
					_, bound, ok = pbBucket(part)
				}
				s.bounds = append(s.bounds, bound)
			default:
				_, msg, ok = cut(msg[1:])
			}
			if !ok {
				return false
			}
		}
		m.bounds = int32(len(s.bounds) - first)
		if kind == pbHistogram {
			m.inf = true
			for i, bound := range s.bounds[first:] {
				if math.IsInf(bound, 1) {
					if i != int(m.bounds)-1 {
						return false
					}
					m.inf = false
				}
			}
		}
	}
	s.metrics = append(s.metrics, m)
	return true
}

// decode reads the values and start timestamps of b, if it has the shape.
func (s *pbScript) decode(b []byte, values []float64, starts []int64) bool {
	metrics, bounds, i := s.metrics, s.bounds, 0
	for k := range s.families {
		f := &s.families[k]
		m, rest, ok := cut(b)
		if !ok || !f.head.begins(m) {
			return false
		}
		b, m = rest, m[f.head.n:]
		for j := range metrics[:f.metrics] {
			d := &metrics[j]
			if len(m) == 0 || m[0] != tagMetric {
				return false
			}
			x, rest, ok := cut(m[1:])
			if !ok || len(x) <= int(d.labels.n) || x[d.labels.n] != d.kind || !d.labels.begins(x) {
				return false
			}
			m = rest
			msg, rest, ok := cut(x[d.labels.n+1:])
			if !ok || len(rest) > 0 {
				return false
			}
			if d.kind == pbSummary || d.kind == pbHistogram {
				n := d.decodeParts(msg, bounds[:d.bounds], values[i:], starts[i:])
				if n == 0 {
					return false
				}
				bounds = bounds[d.bounds:]
				i += n
				continue
			}
			if i >= len(values) {
				return false
			}
			if values[i], starts[i], ok = pbScalar(msg, d.kind); !ok {
				return false
			}
			i++
		}
		metrics = metrics[f.metrics:]
		if len(m) != int(f.tail.n) || !f.tail.begins(m) {
			return false
		}
	}
	return len(b) == 0 && i == len(values)
}

// pbScalar reads a Gauge, Counter or Untyped. Encoders may leave out a value of 0,
// but of an Untyped textparse then takes the one before.
func pbScalar(b []byte, kind byte) (v float64, start int64, ok bool) {
	if len(b) > 0 && b[0] == tagValue {
		if v, b, ok = double(b[1:]); !ok {
			return 0, 0, false
		}
	} else if kind == pbUntyped {
		return 0, 0, false
	}
	if len(b) == 0 {
		return v, 0, true
	}
	if kind != pbCounter || b[0] != tagPart {
		return 0, 0, false
	}
	ts, rest, ok := cut(b[1:])
	if !ok || len(rest) > 0 {
		return 0, 0, false
	}
	start, ok = pbTimestamp(ts)
	return v, start, ok
}

// pbTimestamp reads a google.protobuf.Timestamp in milliseconds.
func pbTimestamp(b []byte) (ms int64, ok bool) {
	var sec, nanos uint64
	if len(b) > 0 && b[0] == tagCount {
		if sec, b, ok = uvarint(b[1:]); !ok {
			return 0, false
		}
	}
	if len(b) > 0 && b[0] == tagNanos {
		if nanos, b, ok = uvarint(b[1:]); !ok {
			return 0, false
		}
	}
	return int64(sec)*1000 + int64(int32(nanos))/1_000_000, len(b) == 0
}

// pbQuantile and pbBucket read a part of a summary or of a histogram.
func pbQuantile(b []byte) (v, quantile float64, ok bool) {
	if len(b) > 0 && b[0] == tagValue {
		if quantile, b, ok = double(b[1:]); !ok {
			return 0, 0, false
		}
	}
	if len(b) > 0 && b[0] == tagSum {
		if v, b, ok = double(b[1:]); !ok {
			return 0, 0, false
		}
	}
	return v, quantile, len(b) == 0
}

func pbBucket(b []byte) (v, bound float64, ok bool) {
	if len(b) > 0 && b[0] == tagCount {
		var n uint64
		if n, b, ok = uvarint(b[1:]); !ok {
			return 0, 0, false
		}
		v = float64(n)
	}
	if len(b) > 0 && b[0] == tagSum {
		if bound, b, ok = double(b[1:]); !ok {
			return 0, 0, false
		}
	}
	return v, bound, len(b) == 0
}

// decodeParts reads a Summary or Histogram in the order of textparse: count, sum,
// quantiles or buckets. It returns the number of samples, 0 if something differs.
func (m *pbMetric) decodeParts(b []byte, bounds, values []float64, starts []int64) int {
	n := 2 + len(bounds)
	if m.inf {
		n++
	}
	if n > len(values) {
		return 0
	}
	var start int64
	var seenStart bool
	values[0], values[1] = 0, 0
	part := 0
	for len(b) > 0 {
		ok := false
		switch b[0] {
		case tagCount:
			var c uint64
			c, b, ok = uvarint(b[1:])
			values[0] = float64(c)
		case tagSum:
			values[1], b, ok = double(b[1:])
		case tagPart:
			if part >= len(bounds) {
				return 0
			}
			var p []byte
			if p, b, ok = cut(b[1:]); !ok {
				return 0
			}
			var bound float64
			if m.kind == pbSummary {
				values[2+part], bound, ok = pbQuantile(p)
			} else {
				values[2+part], bound, ok = pbBucket(p)
			}
			if math.Float64bits(bound) != math.Float64bits(bounds[part]) {
				return 0
			}
			part++
		case tagSumST, tagHistoST:
			if (b[0] == tagSumST) != (m.kind == pbSummary) || seenStart {
				return 0
			}
			var ts []byte
			if ts, b, ok = cut(b[1:]); ok {
				start, ok = pbTimestamp(ts)
			}
			seenStart = true
		}
		if !ok {
			return 0
		}
	}
	if part != len(bounds) {
		return 0
	}
	if m.inf {
		values[n-1] = values[0]
	}
	for i := range n {
		starts[i] = start
	}
	return n
}
