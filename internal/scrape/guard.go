// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"bytes"

	"google.golang.org/protobuf/encoding/protowire"
)

const (
	// guardAbove is the size of a body above which it is looked through before a
	// parser sees it: below it what a parser makes of the worst body is small.
	guardAbove = 128 << 10
	// maxLine is a series and what may stand behind it in a line.
	maxLine = MaxSeriesBytes + 4<<10
	// maxMessage limits one histogram or summary in protobuf.
	maxMessage = 1 << 20
	// excluded is how many samples Keep and Drop may leave out for each one that
	// SampleLimit lets in.
	excluded = 4
)

// guard refuses bodies that a parser would blow up. textparse makes 32 bytes of a
// label of five and 64 of a bucket of two, so that SCRAPE_MAX_BYTES alone would
// not bound memory. Only a body of a new shape comes here.
func guard(b []byte, f format, sampleLimit int) error {
	switch {
	case len(b) <= guardAbove:
		return nil
	case f == formatProtobuf:
		g := pbGuard{parts: (1 + excluded) * sampleLimit}
		return g.body(b)
	default:
		return guardLines(b)
	}
}

// guardLines limits the length of lines. A label value must not go on in the next
// line: the formats want a line feed in it to be escaped.
func guardLines(b []byte) error {
	for len(b) > 0 {
		line := b
		if nl := bytes.IndexByte(b, '\n'); nl >= 0 {
			line = b[:nl]
		}
		b = b[min(len(line)+1, len(b)):]
		if len(line) > maxLine {
			return failed(LabelLimit, "line %.200q... has %d bytes, the limit is %d", line, len(line), maxLine)
		}
		if len(line) > 0 && line[0] != '#' && openQuote(line) {
			return failed(Parse, "line %.200q: a quote is not closed", line)
		}
	}
	return nil
}

// openQuote reports whether a quoted string begins in the line and does not end.
func openQuote(line []byte) bool {
	open := false
	for {
		i := bytes.IndexByte(line, '"')
		if i < 0 {
			return open
		}
		if open {
			n := 0
			for n < i && line[i-1-n] == '\\' {
				n++
			}
			open = n%2 == 1 // the quote is escaped
		} else {
			open = true
		}
		line = line[i+1:]
	}
}

// pbGuard counts what a body of MetricFamily messages consists of.
type pbGuard struct{ parts int }

// Fields of MetricFamily and of Metric.
const (
	fieldMetric    = 4
	fieldLabel     = 1
	fieldGauge     = 2
	fieldUntyped   = 5
	fieldHistogram = 7
)

var (
	errParts    = failed(SampleLimit, "too many metrics, buckets, quantiles or exemplars in one scrape")
	errProtobuf = failed(Parse, "malformed %s body", formatProtobuf)
)

func (g *pbGuard) body(b []byte) error {
	for len(b) > 0 {
		m, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return errProtobuf
		}
		b = b[n:]
		if err := messages(m, func(field protowire.Number, msg []byte) error {
			if field != fieldMetric {
				return nil
			}
			if g.parts--; g.parts < 0 {
				return errParts
			}
			return g.metric(msg)
		}); err != nil {
			return err
		}
	}
	return nil
}

func (g *pbGuard) metric(m []byte) error {
	labels := 0
	return messages(m, func(field protowire.Number, msg []byte) error {
		switch {
		case field == fieldLabel:
			if labels += len(msg) + 2; labels > MaxSeriesBytes {
				return failed(LabelLimit, "a series has more than %d bytes of labels, the limit is %d", labels, MaxSeriesBytes)
			}
			return nil
		case field < fieldGauge, field > fieldUntyped && field != fieldHistogram:
			return nil // the parser skips it too
		case len(msg) > maxMessage:
			return failed(SampleLimit, "a histogram or summary has %d bytes, the limit is %d", len(msg), maxMessage)
		}
		return messages(msg, func(protowire.Number, []byte) error {
			if g.parts--; g.parts < 0 {
				return errParts
			}
			return nil
		})
	})
}

// messages calls f for each length-delimited field of a message. What it cannot
// follow it refuses: a parser that takes more than it does would go on unguarded.
func messages(b []byte, f func(field protowire.Number, msg []byte) error) error {
	for len(b) > 0 {
		field, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errProtobuf
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(field, typ, b); n < 0 {
			return errProtobuf
		}
		if typ == protowire.BytesType {
			msg, _ := protowire.ConsumeBytes(b)
			if err := f(field, msg); err != nil {
				return err
			}
		}
		b = b[n:]
	}
	return nil
}
