// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/textparse"
	dto "github.com/prometheus/prometheus/prompb/io/prometheus/client"
	"pgregory.net/rapid"
)

// What is a good scrape in a small body is one in a body that the guard looks through,
// with the same series.
func TestGuardRefusesNothingThatIsRead(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	pad := strings.Repeat("# padding\n", guardAbove/10)
	manyLabels := make([]dto.LabelPair, 15_000)
	for i := range manyLabels {
		manyLabels[i].Name = string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676))
	}
	wide := func(n int) string {
		mf := &dto.MetricFamily{Name: "a", Type: dto.MetricType_GAUGE, Metric: []dto.Metric{{Label: manyLabels[:n], Gauge: &dto.Gauge{Value: 1}}}}
		return string(protobufBody(t, []*dto.MetricFamily{mf}))
	}
	// Two families, each below the limits, make a body that is looked through.
	padPB := string(protobufBody(t, []*dto.MetricFamily{gaugeFamily("b", strings.Repeat("x", 60_000), 1), gaugeFamily("c", strings.Repeat("x", 60_000), 1)}))
	for _, tt := range []struct{ name, contentType, body, pad string }{
		{"a line feed in a label", typeText, "a{l=\"1\n2\"} 1\nb{l=\"\n\"} 1\n", pad},
		{"escaped quotes", typeText, "a{l=\"1\\\"\n\\\\\"} 1\nb 1\n", pad},
		{"a quoted name with a line feed", typeText, "{\"a\nb\",l=\"x\"} 1\nb 1\n", pad},
		{"a long comment", typeText, "# " + long + "\na 1\n", pad},
		{"a comment with a quote", typeText, "# 5\" disk\na 1\n", pad},
		{"a comment that goes on with HELP", typeText, " #\tHELP \"a\nb\" 5\" disk\n{\"a\nb\"} 1\n", pad},
		{"a quote in a help text", typeText, "# HELP a 5\" disk\na 1\n", pad},
		{"a zero", typeText, "a 1\n\x00" + long, pad},
		{"a zero in a comment", typeText, "a 1\n# \x00" + strings.Repeat("\"\n", 1000), pad},
		{"a long value", typeText, "a 1." + strings.ReplaceAll(long, "x", "0") + "\n", pad},
		{"a quoted name with a line feed, OpenMetrics", typeOM, "{\"a\nb\"} 1\n# EOF\n", strings.Repeat("# HELP p padding\n", guardAbove/17)},
		{"many labels, protobuf", typePB, wide(13_000), padPB},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			read := func(body string) string {
				s := newScraper(t, Options{Target: f.url})
				f.set(tt.contentType, body)
				sc, err := s.Scrape(t.Context(), epoch, nil)
				if err != nil {
					t.Fatalf("a body of %d bytes: %v", len(body), err)
				}
				own, _, _ := strings.Cut(dump(sc), "up 1\n")
				return own
			}
			large := tt.pad + tt.body
			if len(tt.body) > guardAbove || len(large) <= guardAbove {
				t.Fatalf("bodies of %d and %d bytes, only the larger one is to be looked through", len(tt.body), len(large))
			}
			if small, large := read(tt.body), read(large); small == "" || !strings.HasSuffix(large, small) {
				t.Errorf("%.300q, in a small body %.300q", large, small)
			}
		})
	}
}

// Of any body that textparse takes, the guard finds no sample longer than the longest.
func TestGuardFollowsTextparse(t *testing.T) {
	soup := func(pieces ...string) *rapid.Generator[string] {
		return rapid.Map(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 6), func(p []string) string { return strings.Join(p, "") })
	}
	quoted, text := soup("\n", "\\\"", "\\\\", "\\n", "x", "#", "{", "}", "# HELP "), soup("\"", "\\\"", "\\", "x", " ", "#", "{", "}", "\x00")
	between := func(a string, g *rapid.Generator[string], b string) *rapid.Generator[string] {
		return rapid.Map(g, func(s string) string { return a + s + b })
	}
	lines := rapid.OneOf(
		rapid.Just("a 1\n"), between("a{l=\"", quoted, "\"} 1\n"), between(" a{l=\"1\",m=\"", quoted, "\"}\t1\n"), between("{\"", quoted, "\"} 1\n"),
		between("a_total 1 # {l=\"", quoted, "\"} 1\n"), between("#", text, "\n"), between("\t# HELP a", text, "\n"), between("# TYPE \"", quoted, "\" counter\n"),
		between("# HELP a ", text, "\n"), between("# HELP \"", quoted, "\" t\"\n"), rapid.Just("# EOF\n"), text, quoted,
	)
	taken := 0
	rapid.Check(t, func(t *rapid.T) {
		b := []byte(strings.Join(rapid.SliceOfN(lines, 1, 5).Draw(t, "body"), ""))
		for _, om := range []bool{false, true} {
			longest, ok := longestSample(append(make([]byte, 0, len(b)+1), b...), om)
			if !ok {
				continue
			}
			taken++
			if err := guardText(b, longest); err != nil {
				t.Fatalf("OpenMetrics %v: textparse takes %q, whose longest sample has %d bytes: %v", om, b, longest, err)
			}
		}
	})
	if taken < 20 {
		t.Errorf("%d bodies that textparse takes, too few to say anything", taken)
	}
}

// longestSample is the length of the longest sample that textparse reads from b,
// its line's end left aside, and whether it reads all of b.
func longestSample(b []byte, om bool) (longest int, ok bool) {
	var p textparse.Parser = textparse.NewPromParser(b, nil, false)
	if om {
		p = textparse.NewOpenMetricsParser(b, nil)
	}
	for {
		et, err := p.Next()
		if err != nil {
			return longest, errors.Is(err, io.EOF)
		}
		if et != textparse.EntrySeries {
			continue
		}
		key, _, _ := p.Series()
		rest := b[cap(b)-cap(key):] // b has the room that the parser wants
		n := len(key)
		if end := bytes.IndexByte(rest[n:], '\n'); end >= 0 {
			n += end
		} else {
			n = len(rest)
		}
		longest = max(longest, n)
	}
}

// Whatever a parser does not bound is refused.
func TestGuardBoundsSamples(t *testing.T) {
	for _, b := range []string{"a{l=\"\n\n\n\n\n\n\n\n\"} 1\n", "# c\n a{l=\"xxxxxxxxxxx\"} 1", "a{l=\"\nb 1\nc 1\nd 1\ne 1\n"} {
		if err := guardText([]byte(b), 16); err == nil || !strings.Contains(err.Error(), "more than 16 bytes") {
			t.Errorf("%q: %v", b, err)
		}
	}
}
