// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gogo/protobuf/types"
	dto "github.com/prometheus/prometheus/prompb/io/prometheus/client"
)

// synthetic is a payload of n series in the manner of an engine's: counters with
// two labels, a gauge in ten, a histogram in a hundred series.
func synthetic(n int) []*dto.MetricFamily {
	var out []*dto.MetricFamily
	label := func(name, value string) dto.LabelPair { return dto.LabelPair{Name: name, Value: value} }
	start := &types.Timestamp{Seconds: 1_750_000_000, Nanos: 123_000_000}
	for f := 0; n > 0; f++ {
		mf := &dto.MetricFamily{Name: fmt.Sprintf("engine_daemon_synthetic_%04d_total", f), Help: fmt.Sprintf("The number of things of kind %d.", f), Type: dto.MetricType_COUNTER}
		for i := range min(n, 78) {
			mf.Metric = append(mf.Metric, dto.Metric{
				Label:   []dto.LabelPair{label("grpc_method", fmt.Sprintf("Method%03d", i)), label("grpc_service", "docker.swarmkit.v1.Dispatcher")},
				Counter: &dto.Counter{Value: float64(i * f), StartTimestamp: start},
			})
		}
		n -= len(mf.Metric)
		out = append(out, mf)
		if n >= 10 {
			mf := &dto.MetricFamily{Name: fmt.Sprintf("engine_daemon_synthetic_%04d_gauge", f), Help: "Containers by state.", Type: dto.MetricType_GAUGE}
			for i := range 10 {
				mf.Metric = append(mf.Metric, dto.Metric{Label: []dto.LabelPair{label("state", fmt.Sprintf("state%d", i))}, Gauge: &dto.Gauge{Value: float64(i)}})
			}
			n -= 10
			out = append(out, mf)
		}
		if n >= 12 {
			mf := &dto.MetricFamily{Name: fmt.Sprintf("engine_daemon_synthetic_%04d_seconds", f), Help: "Seconds taken.", Type: dto.MetricType_HISTOGRAM}
			h := &dto.Histogram{SampleCount: 33, SampleSum: 12.5, StartTimestamp: start}
			for i := range 9 {
				h.Bucket = append(h.Bucket, dto.Bucket{UpperBound: 0.005 * float64(int(1)<<i), CumulativeCount: uint64(i)})
			}
			mf.Metric = []dto.Metric{{Label: []dto.LabelPair{label("action", "start")}, Histogram: h}}
			n -= 12
			out = append(out, mf)
		}
	}
	return out
}

func protobufBody(t testing.TB, fams []*dto.MetricFamily) []byte {
	t.Helper()
	var b []byte
	for _, mf := range fams {
		m, err := mf.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		b = binary.AppendUvarint(b, uint64(len(m)))
		b = append(b, m...)
	}
	return b
}

func textBody(fams []*dto.MetricFamily) []byte {
	var b bytes.Buffer
	for _, mf := range fams {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", mf.Name, mf.Help, mf.Name, strings.ToLower(mf.Type.String()))
		for _, m := range mf.Metric {
			var ls []string
			for _, l := range m.Label {
				ls = append(ls, fmt.Sprintf("%s=%q", l.Name, l.Value))
			}
			at := strings.Join(ls, ",")
			switch {
			case m.Counter != nil:
				fmt.Fprintf(&b, "%s{%s} %v\n", mf.Name, at, m.Counter.Value)
			case m.Gauge != nil:
				fmt.Fprintf(&b, "%s{%s} %v\n", mf.Name, at, m.Gauge.Value)
			case m.Histogram != nil:
				for _, k := range m.Histogram.Bucket {
					fmt.Fprintf(&b, "%s_bucket{%s,le=\"%v\"} %v\n", mf.Name, at, k.UpperBound, k.CumulativeCount)
				}
				fmt.Fprintf(&b, "%s_bucket{%s,le=\"+Inf\"} %v\n", mf.Name, at, m.Histogram.SampleCount)
				fmt.Fprintf(&b, "%s_sum{%s} %v\n%s_count{%s} %v\n", mf.Name, at, m.Histogram.SampleSum, mf.Name, at, m.Histogram.SampleCount)
			}
		}
	}
	return b.Bytes()
}

// static answers every request with one body, without a connection.
type static struct {
	header http.Header
	body   []byte
	r      bytes.Reader
	resp   http.Response
}

func (s *static) RoundTrip(*http.Request) (*http.Response, error) {
	s.r.Reset(s.body)
	s.resp = http.Response{StatusCode: 200, Header: s.header, Body: io.NopCloser(&s.r)}
	return &s.resp, nil
}

func staticScraper(t testing.TB, contentType string, body []byte) *Scraper {
	s := newScraper(t, Options{Target: "unix:///m.sock"})
	s.target.client.Transport = &static{header: http.Header{"Content-Type": {contentType}}, body: body}
	return s
}

type payload struct {
	name, contentType string
	body              []byte
}

func payloads(t testing.TB, sizes ...int) []payload {
	var out []payload
	for _, name := range []string{"v20.10-fresh.txt", "v20.10-fresh.pb", "v20.10-swarm.txt", "v20.10-swarm.pb", "master-fresh.txt", "master-fresh.pb", "master-swarm.txt", "master-swarm.pb"} {
		ct, body := capture(t, name)
		out = append(out, payload{name, ct, body})
	}
	for _, n := range sizes {
		fams := synthetic(n)
		out = append(out,
			payload{fmt.Sprintf("%d.txt", n), typeText, textBody(fams)},
			payload{fmt.Sprintf("%d.pb", n), typePB, protobufBody(t, fams)})
	}
	return out
}

// BenchmarkScrape is one scrape of known series without the connection: of a body
// of the same shape, as nearly all are, and, where it is called changed, of one
// that textparse has to read.
func BenchmarkScrape(b *testing.B) {
	for _, p := range payloads(b, 100, 1000, 10_000, 50_000) {
		for _, name := range []string{p.name, "changed/" + p.name} {
			b.Run(name, func(b *testing.B) {
				s := staticScraper(b, p.contentType, p.body)
				n := 0
				for range 2 {
					sc, err := s.Scrape(context.Background(), epoch, nil)
					if err != nil {
						b.Fatal(err)
					}
					n = sc.Len()
				}
				b.ReportAllocs()
				for b.Loop() {
					if name != p.name {
						s.shape = nil
					}
					s.Scrape(context.Background(), epoch, nil)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/series")
			})
		}
	}
}

// BenchmarkFetch is the connection alone, both ends of it.
func BenchmarkFetch(b *testing.B) {
	ct, body := capture(b, "v20.10-fresh.txt")
	f := newFake(b)
	f.set(ct, string(body))
	s := newScraper(b, Options{Target: f.url})
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := s.target.fetch(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}
