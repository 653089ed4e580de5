// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"encoding/binary"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// Fields of io.prometheus.client, number and wire type, which is 0 for a varint. A body with any other,
// exemplars and native histograms among them, has no tape.
const (
	familyName   = 1<<3 | 2
	familyHelp   = 2<<3 | 2
	familyType   = 3 << 3
	familyMetric = 4<<3 | 2
	familyUnit   = 5<<3 | 2

	metricLabel     = 1<<3 | 2
	metricGauge     = 2<<3 | 2
	metricCounter   = 3<<3 | 2
	metricSummary   = 4<<3 | 2
	metricUntyped   = 5<<3 | 2
	metricHistogram = 7<<3 | 2

	scalarValue  = 1<<3 | 1 // of Gauge, Counter and Untyped
	counterStart = 3<<3 | 2

	partsCount     = 1 << 3 // of Summary and Histogram
	partsSum       = 2<<3 | 1
	partsPart      = 3<<3 | 2 // a Quantile, a Bucket
	summaryStart   = 4<<3 | 2
	histogramStart = 15<<3 | 2

	quantileQuantile = 1<<3 | 1
	quantileValue    = 2<<3 | 1
	bucketCount      = 1 << 3
	bucketBound      = 2<<3 | 1
)

// valueOf is the field of a metric that has the value, by the number of MetricType.
var valueOf = [...]uint64{metricCounter, metricGauge, metricSummary, metricUntyped, metricHistogram, metricHistogram}

// Protobuf returns the tape of a body of length-delimited MetricFamily messages, none
// of whose samples has a timestamp. Of each sample columns has where its value is in
// values, or -1; values are what textparse has read. It returns nil if it cannot make
// one that gives the very same.
func Protobuf(body []byte, columns []int, values []float64) *Tape {
	if len(body) > math.MaxInt32 {
		return nil
	}
	c := compiler{body: body, columns: columns, steps: make([]step, 0, len(columns))}
	for at := 0; at < len(body); {
		n := protowire.ConsumeFieldValue(1, protowire.BytesType, body[at:])
		if n < 0 || !c.framed(at, at+n, c.family) {
			return nil
		}
		at += n
	}
	return c.tape(values)
}

// fields calls f for each field between at and end, with where its value begins and
// ends; a message begins with its length. It stops where f returns false.
func (c *compiler) fields(at, end int, f func(field uint64, at, end int) bool) bool {
	for at < end {
		num, typ, n := protowire.ConsumeTag(c.body[at:end])
		if n < 0 {
			return false
		}
		at += n
		n = protowire.ConsumeFieldValue(num, typ, c.body[at:end])
		if n < 0 || !f(protowire.EncodeTag(num, typ), at, at+n) {
			return false
		}
		at += n
	}
	return true
}

// inside is where the message begins whose length is at at.
func (c *compiler) inside(at int) int {
	_, n := protowire.ConsumeVarint(c.body[at:])
	return at + n
}

// framed has f compile a message whose length may vary, since varints are in it.
// Lengths of other messages are bytes like all that do not vary.
func (c *compiler) framed(at, end int, f func(at, end int) bool) bool {
	inside := c.inside(at)
	c.slot(lengthSlot, at, inside-at, noSample)
	length, varints := len(c.steps)-1, c.varints
	if !f(inside, end) {
		return false
	}
	c.steps[length].fixed = int32(end - inside - (c.varints - varints))
	c.ends++
	return true
}

func (c *compiler) family(at, end int) bool {
	kind, metrics := valueOf[0], false
	return c.fields(at, end, func(field uint64, at, end int) bool {
		switch field {
		case familyName, familyHelp, familyUnit:
			return true
		case familyType:
			t, _ := protowire.ConsumeVarint(c.body[at:end])
			if metrics || t >= uint64(len(valueOf)) {
				return false
			}
			kind = valueOf[t]
			return true
		case familyMetric:
			metrics = true
			if kind == metricSummary || kind == metricHistogram {
				return c.framed(at, end, func(at, end int) bool { return c.metric(kind, at, end) })
			}
			return c.metric(kind, c.inside(at), end)
		}
		return false
	})
}

func (c *compiler) metric(kind uint64, at, end int) bool {
	valued := false
	ok := c.fields(at, end, func(field uint64, at, end int) bool {
		switch {
		case field == metricLabel:
			return true
		case field != kind || valued:
			return false
		}
		valued = true
		switch kind {
		case metricSummary:
			return c.framed(at, end, c.summary)
		case metricHistogram:
			return c.framed(at, end, c.histogram)
		}
		return c.scalar(kind, c.inside(at), end)
	})
	return ok && valued
}

// scalar compiles a Gauge, Counter or Untyped. Encoders may leave out a value of 0,
// but of an Untyped textparse then takes the one before.
func (c *compiler) scalar(kind uint64, at, end int) bool {
	sample, valued := c.next(1), false
	ok := c.fields(at, end, func(field uint64, at, end int) bool {
		if field == scalarValue {
			c.slot(doubleSlot, at, end-at, sample)
			valued = true
			return true
		}
		return field == counterStart && kind == metricCounter
	})
	return ok && (valued || kind != metricUntyped)
}

// next takes the numbers of the next n samples and returns the first.
func (c *compiler) next(n int) int {
	c.samples += n
	return c.samples - n
}

// summary compiles a Summary in the order of textparse: count, sum, quantiles.
func (c *compiler) summary(at, end int) bool {
	sample := c.next(2)
	return c.fields(at, end, func(field uint64, at, end int) bool {
		switch field {
		case partsCount:
			c.slot(countSlot, at, end-at, sample)
		case partsSum:
			c.slot(doubleSlot, at, end-at, sample+1)
		case partsPart:
			return c.quantile(c.inside(at), end)
		case summaryStart:
		default:
			return false
		}
		return true
	})
}

func (c *compiler) quantile(at, end int) bool {
	sample := c.next(1)
	return c.fields(at, end, func(field uint64, at, end int) bool {
		if field == quantileValue {
			c.slot(doubleSlot, at, end-at, sample)
			return true
		}
		return field == quantileQuantile
	})
}

// histogram compiles a classic Histogram in the order of textparse: count, sum,
// buckets. That adds the bucket +Inf where it is missing, and knows none behind it.
func (c *compiler) histogram(at, end int) bool {
	sample := c.next(2)
	counted, inf := false, false
	ok := c.fields(at, end, func(field uint64, at, end int) bool {
		switch field {
		case partsCount:
			counted = true
			c.slot(countSlot, at, end-at, sample)
		case partsSum:
			c.slot(doubleSlot, at, end-at, sample+1)
		case partsPart:
			return !inf && c.framed(at, end, func(at, end int) bool { return c.bucket(at, end, &inf) })
		case histogramStart:
		default:
			return false
		}
		return true
	})
	if inf || !ok {
		return ok
	}
	sample = c.next(1)
	if counted {
		c.slot(againSlot, end, 0, sample)
	}
	return true
}

func (c *compiler) bucket(at, end int, inf *bool) bool {
	sample := c.next(1)
	return c.fields(at, end, func(field uint64, at, end int) bool {
		switch field {
		case bucketCount:
			c.slot(varintSlot, at, end-at, sample)
		case bucketBound:
			*inf = math.IsInf(math.Float64frombits(binary.LittleEndian.Uint64(c.body[at:end])), 1)
		default:
			return false
		}
		return true
	})
}
