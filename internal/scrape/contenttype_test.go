// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"errors"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/textparse"
	dto "github.com/prometheus/prometheus/prompb/io/prometheus/client"
)

const om, pb = "application/openmetrics-text", "application/vnd.google.protobuf"

var contentTypes = []struct {
	contentType string
	want        format
}{
	{"", formatNone},
	{" ", formatNone},
	{";", formatNone},
	{"; charset=utf-8", formatNone},
	{"text/plain", formatText},
	{"TEXT/Plain", formatText},
	{" text/plain ", formatText},
	{"text/plain;", formatText},
	{"text/plain;version=0.0.4", formatText},
	{"text/plain; version=1.0.0; escaping=allow-utf-8", formatText},
	{"text/plain; version=9", formatText},
	{"text/plain; version=", formatNone},
	{"text/plain; version", formatNone},
	{"text/plain; Charset=UTF-8; VERSION=0.0.4", formatText},
	{"text/plain; charset=latin1", formatText},
	{`text/plain; charset="utf-8"`, formatText},
	{"text/plain; charset=utf-8; charset=utf-8", formatText},
	{"text/plain; charset=utf-8; charset=latin1", formatNone},
	{"text/plain, text/plain", formatNone},
	{"text / plain", formatNone},
	{"text", formatNone},
	{"text/html", formatNone},
	{"text/html; version=0.0.4", formatNone},
	{"application/json", formatNone},
	{"application/octet-stream", formatNone},
	{om, formatOpenMetrics},
	{"Application/OpenMetrics-Text; Version=1.0.0", formatOpenMetrics},
	{om + "; charset=utf-8; version=0.0.1", formatOpenMetrics},
	{om + "; version=1.0.0; escaping=allow-utf-8; charset=utf-8", formatOpenMetrics},
	{om + "; version=1.1.0", formatOpenMetrics},
	{om + "; version=2.0.1", formatOpenMetrics},
	{om + "; version=2", formatOpenMetrics},
	{om + "; version=2.0.0", formatNone},
	{om + "; charset=utf-8; VERSION=\"2.0.0\"", formatNone},
	{pb, formatProtobuf},
	{pb + "; proto=io.prometheus.client.MetricFamily; encoding=delimited", formatProtobuf},
	{pb + "; encoding=delimited; escaping=underscores; proto=io.prometheus.client.MetricFamily; q=0.5", formatProtobuf},
	{"application/vnd.google.PROTOBUF; ENCODING=delimited", formatProtobuf},
	// Whether such a body can be read is for the parser to say.
	{pb + "; encoding=text", formatProtobuf},
	{pb + "; proto=other.Message", formatProtobuf},
	{"application/x-protobuf", formatNone},
}

// A Content-Type means what it means to the linked Prometheus with its default
// configuration, in which no target has a fallback_scrape_protocol.
func TestContentType(t *testing.T) {
	bodies := map[format]string{
		formatNone:        "a 1\n",
		formatText:        "a 1\n",
		formatOpenMetrics: "a 1\n# EOF\n",
		formatProtobuf:    string(protobufBody(t, synthetic(1))),
	}
	f := newFake(t)
	s := newScraper(t, Options{Target: f.url})
	for _, tt := range contentTypes {
		t.Run(tt.contentType, func(t *testing.T) {
			// What HTTP takes off a field's value is no part of it.
			p, _ := textparse.New([]byte("a 1\n"), strings.TrimSpace(tt.contentType), nil, textparse.ParserOptions{})
			prometheus := formatNone
			switch p.(type) {
			case *textparse.PromParser:
				prometheus = formatText
			case *textparse.OpenMetricsParser:
				prometheus = formatOpenMetrics
			case *textparse.ProtobufParser:
				prometheus = formatProtobuf
			}
			if prometheus != tt.want {
				t.Fatalf("Prometheus reads %q, want %q", prometheus, tt.want)
			}
			f.set(tt.contentType, bodies[tt.want])
			_, err := s.Scrape(t.Context(), epoch, nil)
			var failure *Error
			switch {
			case tt.want == formatNone:
				if !errors.As(err, &failure) || failure.Outcome != ContentType {
					t.Errorf("%v", err)
				}
			case err != nil || s.Stats().Format != tt.want.String():
				t.Errorf("%v, read as %q, want %q", err, s.Stats().Format, tt.want)
			}
			// Prometheus looks at the body first: an empty one is a good scrape, and
			// what was there before ends.
			f.set(typeText, "before 1\n")
			if _, err := s.Scrape(t.Context(), epoch, nil); err != nil {
				t.Fatal(err)
			}
			f.set(tt.contentType, "")
			sc, err := s.Scrape(t.Context(), epoch, nil)
			const want = "up 1\nscrape_samples_scraped 0\nscrape_samples_post_metric_relabeling 0\nscrape_series_added 0\nbefore stale\n"
			if got := dump(sc); err != nil || got != want {
				t.Errorf("an empty body: %v\n%swant\n%s", err, got, want)
			}
		})
	}
}

// Only gzip says something of a body, as in Prometheus: there are targets that name a
// character set, a media type or nothing at all.
func TestContentEncoding(t *testing.T) {
	f := newFake(t)
	s := newScraper(t, Options{Target: f.url})
	for _, encoding := range []string{"", " ", "identity", "none", "utf-8", "UTF-8", "text/plain", "text/plain; charset=utf-8", "chunked", "br", "deflate", "GZIP", "gzip, identity", "x"} {
		for _, contentType := range []string{typeText, typePB} {
			body := []byte("a{l=\"x\"} 1\n")
			if contentType == typePB {
				body = protobufBody(t, []*dto.MetricFamily{gaugeFamily("a", "x", 1)})
			}
			f.handle(answer(contentType, body, "Content-Encoding", encoding))
			sc, err := s.Scrape(t.Context(), epoch, nil)
			if got := dump(sc); err != nil || !strings.HasPrefix(got, "a{l=\"x\"} 1\nup 1\n") {
				t.Errorf("%q over %s: %v\n%s", encoding, contentType, err, got)
			}
		}
	}
}
