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
	// maxSample limits how a sample is written, its exemplar included. A body that
	// is not looked through has no longer one, and of either a series that exceeds
	// MaxSeriesBytes is refused when it was parsed.
	maxSample = guardAbove
	// maxLabels limits the labels of a sample in protobuf, where one of which three bytes
	// count against MaxSeriesBytes takes up to seven.
	maxLabels = 3 * MaxSeriesBytes
	// maxMessage limits one histogram or summary in protobuf.
	maxMessage = 1 << 20
	// excluded is how many samples Keep and Drop may leave out for each one that
	// SampleLimit lets in.
	excluded = 4
)

// guard refuses bodies that a parser would blow up, and none that it would not.
// textparse makes 32 bytes of a label of five and 64 of a bucket of two, so that
// SCRAPE_MAX_BYTES alone would not bound memory. Only a body of a new shape comes here.
func guard(b []byte, f format, sampleLimit int) error {
	switch {
	case len(b) <= guardAbove:
		return nil
	case f == formatProtobuf:
		g := pbGuard{parts: (1 + excluded) * sampleLimit}
		return g.body(b)
	default:
		return guardText(b, maxSample)
	}
}

// guardText limits how long samples are. What a parser makes of a comment does not
// grow with it.
func guardText(b []byte, limit int) error {
	for {
		b = bytes.TrimLeft(b, " \t\n")
		if len(b) == 0 || b[0] == 0 {
			return nil // textparse ends at a zero
		}
		if b[0] == '#' {
			b = b[commentEnd(b):]
			continue
		}
		n := sampleEnd(b)
		if n > limit {
			return failed(LabelLimit, "series %.200q...: the line has more than %d bytes", b[:n], limit)
		}
		b = b[n:]
	}
}

// sampleEnd is the length of the sample that b begins with. Between quotes it may go
// on in the next line.
func sampleEnd(b []byte) int {
	quoted := false
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '\\':
			if quoted {
				i++
			}
		case '"':
			quoted = !quoted
		case '\n':
			if !quoted {
				return i
			}
		}
	}
	return len(b)
}

// commentEnd is the length of the comment that b begins with. Quotes mean nothing in it,
// but for those of a metric's name.
func commentEnd(b []byte) int {
	n := 0
	if rest := bytes.TrimLeft(b[1:], " \t"); len(rest) > 4 {
		switch string(rest[:4]) {
		case "HELP", "TYPE", "UNIT":
			rest = bytes.TrimLeft(rest[4:], " \t")
			n = len(b) - len(rest)
			if len(rest) > 0 && rest[0] == '"' {
				n += quotedEnd(rest)
			}
		}
	}
	if end := bytes.IndexAny(b[n:], "\n\x00"); end >= 0 {
		return n + end
	}
	return len(b)
}

// quotedEnd is the length of the quoted string that b begins with.
func quotedEnd(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
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
	errParts    = failed(SampleLimit, "too many metrics, buckets, quantiles or exemplars in one scrape: more than %d for each sample that SCRAPE_SAMPLE_LIMIT lets in", 1+excluded)
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
			if labels += len(msg) + 2; labels > maxLabels {
				return failed(LabelLimit, "a series has more than %d bytes of labels", maxLabels)
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
