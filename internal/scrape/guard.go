// SPDX-License-Identifier: Apache-2.0

package scrape

import "bytes"

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
// not bound memory. Only a body that no script knows comes here.
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

var errParts = failed(SampleLimit, "too many metrics, buckets, quantiles or exemplars in one scrape")

func (g *pbGuard) body(b []byte) error {
	for len(b) > 0 {
		m, rest, ok := cut(b)
		if !ok {
			return nil // for the parser to say
		}
		b = rest
		if err := g.fields(m, func(tag uint64, msg []byte) error {
			if tag != tagMetric {
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
	return g.fields(m, func(tag uint64, msg []byte) error {
		if tag == tagLabel {
			if labels += len(msg) + 2; labels > MaxSeriesBytes {
				return failed(LabelLimit, "a series has more than %d bytes of labels, the limit is %d", labels, MaxSeriesBytes)
			}
			return nil
		}
		if len(msg) > maxMessage {
			return failed(SampleLimit, "a histogram or summary has %d bytes, the limit is %d", len(msg), maxMessage)
		}
		return g.fields(msg, func(uint64, []byte) error {
			if g.parts--; g.parts < 0 {
				return errParts
			}
			return nil
		})
	})
}

// fields calls f for each length-delimited field of a message. It stops where the
// message is malformed, as the parser will.
func (g *pbGuard) fields(b []byte, f func(tag uint64, msg []byte) error) error {
	for len(b) > 0 {
		tag, rest, ok := uvarint(b)
		if !ok {
			return nil
		}
		b = rest
		switch tag & 7 {
		case 0:
			_, b, ok = uvarint(b)
		case 1:
			_, b, ok = double(b)
		case 2:
			var msg []byte
			if msg, b, ok = cut(b); ok {
				if err := f(tag, msg); err != nil {
					return err
				}
			}
		case 5:
			if ok = len(b) >= 4; ok {
				b = b[4:]
			}
		default:
			ok = false
		}
		if !ok {
			return nil
		}
	}
	return nil
}
