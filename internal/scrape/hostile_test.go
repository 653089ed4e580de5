// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gogo/protobuf/types"
	"github.com/prometheus/prometheus/model/value"
	dto "github.com/prometheus/prometheus/prompb/io/prometheus/client"
)

func zip(t testing.TB, b []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, _ := gzip.NewWriterLevel(&buf, gzip.BestSpeed)
	w.Write(b)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func answer(contentType string, body []byte, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = []string{contentType}
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.Write(body)
	}
}

func gaugeFamily(name, label string, value float64) *dto.MetricFamily {
	return &dto.MetricFamily{Name: name, Type: dto.MetricType_GAUGE, Metric: []dto.Metric{
		{Label: []dto.LabelPair{{Name: "l", Value: label}}, Gauge: &dto.Gauge{Value: value}},
	}}
}

// nativeFamily is a family of native histograms, each with that many buckets in
// its span and one bucket in truth.
func nativeFamily(spans ...uint32) *dto.MetricFamily {
	mf := &dto.MetricFamily{Name: "native", Type: dto.MetricType_HISTOGRAM}
	for i, n := range spans {
		mf.Metric = append(mf.Metric, dto.Metric{
			Label: []dto.LabelPair{{Name: "i", Value: fmt.Sprint(i)}},
			Histogram: &dto.Histogram{
				SampleCount: 3, SampleSum: 4, Schema: 2, ZeroThreshold: 0.001,
				PositiveSpan: []dto.BucketSpan{{Offset: 1, Length: n}}, PositiveDelta: []int64{3},
				StartTimestamp: &types.Timestamp{Seconds: 1_700_000_000},
			},
		})
	}
	return mf
}

// repeat, message, delimited and oneMetric build protobuf bodies that no encoder would.
func repeat(n int, pattern ...byte) []byte { return bytes.Repeat(pattern, n) }

func delimited(m []byte) []byte { return append(binary.AppendUvarint(nil, uint64(len(m))), m...) }

func message(tag byte, m []byte) []byte { return append([]byte{tag}, delimited(m)...) }

const (
	tagName, tagType, tagMetric    = 1<<3 | 2, 3 << 3, 4<<3 | 2 // of a family
	tagLabel, pbHistogram, tagPart = 1<<3 | 2, 7<<3 | 2, 3<<3 | 2
)

func oneMetric(m []byte) []byte {
	// Its name is a, its type HISTOGRAM.
	return delimited(append([]byte{tagName, 1, 'a', tagType, 4}, message(tagMetric, m)...))
}

// TestHostile gives every kind of bad answer between two good ones.
func TestHostile(t *testing.T) {
	big := strings.Repeat("x", 2<<20)
	var million []byte
	for i := range 1_000_000 {
		million = append(strconv.AppendInt(append(million, 'm'), int64(i), 10), " 1\n"...)
	}
	tests := []struct {
		name   string
		answer http.HandlerFunc
		want   Outcome
		says   string
	}{
		{"endless body", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", typeText)
			for r.Context().Err() == nil {
				if _, err := w.Write([]byte(strings.Repeat("a 1\n", 4096))); err != nil {
					return
				}
			}
		}, TooLarge, "exceeds the limit of 12582912 bytes that SCRAPE_MAX_BYTES sets"},
		{"slow body", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", typeText)
			w.Write([]byte("a 1\n"))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, Timeout, "timeout: no whole answer in time"},
		{"no answer", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, Timeout, "timeout: no whole answer in time"},
		{"cut off", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", typeText)
			w.Header().Set("Content-Length", "100")
			w.Write([]byte("a 1\n"))
		}, Network, "unexpected EOF"},
		{"not HTTP", func(w http.ResponseWriter, r *http.Request) {
			c, _, _ := w.(http.Hijacker).Hijack()
			c.Write([]byte("no such thing\r\n\r\n"))
			c.Close()
		}, Network, "malformed HTTP"},
		{"endless header", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Big", big)
			w.Write([]byte("a 1\n"))
		}, Network, "header"},
		{"server error", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", 500) }, Status, "answered 500, want 200"},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		}, Network, "stopped after 10 redirects"},
		{"a million series", answer(typeText, million), SampleLimit, "more than 50000 samples in one scrape, the limit that SCRAPE_SAMPLE_LIMIT sets"},
		{"10 MB of labels", answer(typeText, []byte("a{l=\""+big+"\"} 1\n")), LabelLimit, "more than 131072 bytes"},
		{"100 kB of labels", answer(typeText, []byte("a{l=\""+big[:100_000]+"\"} 1\n")), LabelLimit, "the limit is 65536"},
		{"10 MB of labels, protobuf", answer(typePB, protobufBody(t, []*dto.MetricFamily{gaugeFamily("a", big, 1)})), LabelLimit, "more than 196608 bytes of labels"},
		{"10 MB of help", answer(typeText, []byte("# HELP a "+big+"\na 1\n")), LabelLimit, "help of \"a\""},
		{"100 kB of help", answer(typeText, []byte("# HELP a "+big[:100_000]+"\na 1\n")), LabelLimit, "help of \"a\""},
		{"two million labels", answer(typeText, []byte("a{"+strings.Repeat("l=\"\n\",", 1<<20)+"} 1\n")), LabelLimit, "more than 131072 bytes"},
		{"a quote that is not closed", answer(typeText, []byte("a{l=\""+strings.Repeat("\nb 1", 1<<19))), LabelLimit, "more than 131072 bytes"},
		{"two million labels, protobuf", answer(typePB, oneMetric(repeat(2<<20, tagLabel, 0))), LabelLimit, "bytes of labels"},
		{"two million metrics", answer(typePB, delimited(repeat(2<<20, tagMetric, 0))), SampleLimit, "SCRAPE_SAMPLE_LIMIT"},
		{"two million buckets", answer(typePB, oneMetric(message(pbHistogram, repeat(500_000, tagPart, 0)))), SampleLimit, "too many"},
		{"a histogram of two million buckets", answer(typePB, oneMetric(message(pbHistogram, repeat(2<<20, tagPart, 0)))), SampleLimit, "a histogram or summary"},
		{"two million buckets behind a group", answer(typePB, oneMetric(append([]byte{9<<3 | 3, 9<<3 | 4}, message(pbHistogram, repeat(2<<20, tagPart, 0))...))), SampleLimit, "a histogram or summary"},
		{"a million buckets of odd tags", answer(typePB, oneMetric(message(pbHistogram, repeat(100_000, 0x9a, 0x80, 0x80, 0x80, 0x80, 0x01, 0)))), Parse, "malformed protobuf"},
		{"metrics of odd tags", answer(typePB, delimited(repeat(1<<20, 0xa2, 0x80, 0x80, 0x80, 0x80, 0x01, 0))), Parse, "malformed protobuf"},
		{"a label of odd tags", answer(typePB, oneMetric(repeat(1<<20, 0x8a, 0x80, 0x80, 0x80, 0x80, 0x01, 0))), Parse, "malformed protobuf"},
		{"huge lengths", answer(typePB, append(repeat(2<<20, 0x22, 0), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1)), Parse, "malformed protobuf"},
		{"invalid label value", answer(typeText, []byte("a{l=\"\xff\"} 1\n")), Parse, "UTF-8"},
		{"invalid label name", answer(typeText, []byte("a{\"\xff\"=\"v\"} 1\n")), Parse, "UTF-8"},
		{"invalid metric name", answer(typeText, []byte("{\"\xff\"} 1\n")), Parse, "UTF-8"},
		{"invalid help", answer(typeText, []byte("# HELP a \xff\na 1\n")), Parse, "utf8"},
		{"invalid label value, protobuf", answer(typePB, protobufBody(t, []*dto.MetricFamily{gaugeFamily("a", "\xff", 1)})), Parse, "invalid label value"},
		{"no name", answer(typeText, []byte("{l=\"v\"} 1\n")), Parse, "metric name not set"},
		{"label twice", answer(typeText, []byte("a{l=\"v\",l=\"w\"} 1\n")), Parse, "stands twice"},
		{"name as a label", answer(typeText, []byte("a{__name__=\"b\"} 1\n")), Parse, "stands twice"},
		{"no content type", answer("", []byte("a 1\n")), ContentType, "content type"},
		{"HTML", answer("text/html", []byte("<html>")), ContentType, "text/html"},
		{"OpenMetrics 2", answer("application/openmetrics-text; version=2.0.0", []byte("a 1\n# EOF\n")), ContentType, "2.0.0"},
		{"protobuf in text", answer(typePB+"x", []byte("a 1\n")), Parse, "malformed protobuf"},
		{"text called protobuf", answer(typePB, []byte("a 1\n")), Parse, "malformed protobuf"},
		{"protobuf called text", answer(typeText, protobufBody(t, synthetic(20))), Parse, "malformed text"},
		{"text called OpenMetrics", answer(typeOM, []byte("a 1\n")), Parse, "# EOF"},
		{"unknown compression", answer(typeText, zip(t, []byte("a 1\n")), "Content-Encoding", "br"), ContentType, "\"br\""},
		{"unknown compression, protobuf", answer(typePB, zip(t, protobufBody(t, synthetic(1))), "Content-Encoding", "zstd"), Parse, "malformed protobuf"},
		{"plain text called gzip", answer(typeText, []byte("a 1\n, and more than ten bytes"), "Content-Encoding", "gzip"), Parse, "gzip"},
		{"gzip bomb", answer(typeText, zip(t, make([]byte, 16<<20)), "Content-Encoding", "gzip"), TooLarge, "SCRAPE_MAX_BYTES"},
		{"cut off gzip", answer(typeText, zip(t, []byte("a 1\n"))[:15], "Content-Encoding", "gzip"), Network, "unexpected EOF"},
		{"broken native histogram", answer(typePB, protobufBody(t, []*dto.MetricFamily{nativeFamily(9)})), Parse, "spans require 9 buckets"},
		{"broken second native histogram", answer(typePB, protobufBody(t, []*dto.MetricFamily{nativeFamily(1, 9)})), Parse, "histogram \"native"},
	}
	f := newFake(t)
	s := newScraper(t, Options{Target: f.url, Room: NewRoom(12<<20, 1), Timeout: 300 * time.Millisecond, NativeHistograms: true})
	slow := newScraper(t, Options{Target: f.url, Room: NewRoom(12<<20, 1), Timeout: time.Minute, NativeHistograms: true})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := s
			if tt.want != Timeout {
				s = slow
			}
			good := func() {
				t.Helper()
				f.set(typeText, "good 1\n")
				sc, err := s.Scrape(t.Context(), epoch, nil)
				if err != nil || !strings.HasPrefix(dump(sc), "good 1\nup 1\n") {
					t.Fatalf("%v\n%s", err, dump(sc))
				}
			}
			good()
			f.handle(tt.answer)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			sc, err := s.Scrape(t.Context(), epoch, nil)
			runtime.ReadMemStats(&after)
			// The body grows to at most twice the limit, by doubling; both ends are counted.
			if n := after.TotalAlloc - before.TotalAlloc; n > 128<<20 {
				t.Errorf("%d MB allocated", n>>20)
			}
			var failure *Error
			if !errors.As(err, &failure) || failure.Outcome != tt.want || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v", err)
			}
			if err != nil && len(err.Error()) > 1000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			if d := dump(sc); !strings.HasPrefix(d, "up 0\n") || !strings.HasSuffix(d, "\ngood stale\n") {
				t.Errorf("%s", d)
			}
			if st := s.Stats(); st.Outcomes[tt.want] == 0 || err == nil || st.LastError != err.Error() {
				t.Errorf("%+v", st)
			}
			good()
			if n := len(s.known.spellings); n > 2000 {
				t.Errorf("%d series remembered", n)
			}
		})
	}
	// Nothing of it is held on to.
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before := m.HeapAlloc
	held := cap(slow.target.body) + cap(s.target.body)
	if held > 2<<20 {
		t.Errorf("bodies of %d bytes kept, of a heap of %d", held, before)
	}
}

// Start timestamps of OpenMetrics stand behind their samples, if need be far behind
// them: looking for one must not be done anew for each series.
func TestOpenMetricsStarts(t *testing.T) {
	const n = 20_000
	var b strings.Builder
	b.WriteString("# TYPE without counter\n")
	for i := range n {
		fmt.Fprintf(&b, "without_total{i=\"%d\"} 1\n", i)
	}
	fmt.Fprintf(&b, "without_created{i=\"%d\"} 4\n", n-1)
	b.WriteString("# TYPE with counter\nwith_total{i=\"1\"} 1\nwith_created{i=\"1\"} 5\nwith_total{i=\"2\"} 1\nwith_created{i=\"2\"} 6\n" +
		"# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 2\nh_count 1\nh_created 7\n# EOF\n")
	f := newFake(t)
	f.set(typeOM, b.String())
	s := newScraper(t, Options{Target: f.url, Timeout: time.Minute})
	sc, err := s.Scrape(t.Context(), epoch, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []int64
	for i, st := range sc.Starts {
		if i >= n-1 && i < n+5 {
			got = append(got, st)
		} else if st != 0 {
			t.Fatalf("%s has the start timestamp %d", sc.Series[i].Labels, st)
		}
	}
	if want := []int64{4000, 5000, 6000, 7000, 7000, 7000}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// Whatever bits a value has, they arrive, except those of a stale marker.
func TestValueBits(t *testing.T) {
	bits := []uint64{0, math.Float64bits(math.Inf(1)), math.Float64bits(math.Inf(-1)), value.NormalNaN, 0x7ff8dead0000beef, 0xfff0000000000001, 1}
	for _, b := range append(bits, value.StaleNaN) {
		f := newFake(t)
		s := newScraper(t, Options{Target: f.url})
		want := b
		if b == value.StaleNaN {
			want = value.NormalNaN
		}
		f.set(typePB, string(protobufBody(t, []*dto.MetricFamily{gaugeFamily("a", "x", math.Float64frombits(b))})))
		for round := range 3 {
			sc, err := s.Scrape(t.Context(), epoch, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := math.Float64bits(sc.Values[0]); got != want {
				t.Errorf("round %d: %x became %x", round, b, got)
			}
		}
	}
	f := newFake(t)
	s := newScraper(t, Options{Target: f.url})
	f.set(typeText, "a NaN\nb +Inf\nc -Inf\nd nan\ne 0x10\nf 1e400\n")
	if _, err := s.Scrape(t.Context(), epoch, nil); err == nil {
		t.Error("1e400 was accepted")
	}
	f.set(typeText, "a NaN\nb +Inf\nc -Inf\nd 1e-5\n")
	for range 3 {
		sc, err := s.Scrape(t.Context(), epoch, nil)
		if err != nil || !strings.HasPrefix(dump(sc), "a NaN\nb +Inf\nc -Inf\nd 1e-05\n") || math.Float64bits(sc.Values[0]) != value.NormalNaN {
			t.Errorf("%v %s", err, dump(sc))
		}
	}
}

func TestNativeHistogramsAndExemplars(t *testing.T) {
	f := newFake(t)
	s := newScraper(t, Options{Target: f.url, NativeHistograms: true})
	ts := &types.Timestamp{Seconds: 1_700_000_001}
	future := &types.Timestamp{Seconds: epoch.Unix() + 3600}
	native := nativeFamily(1)
	native.Metric[0].Histogram.Exemplars = []*dto.Exemplar{{Label: []dto.LabelPair{{Name: "id", Value: "n"}}, Value: 2, Timestamp: ts}}
	f.set(typePB, string(protobufBody(t, []*dto.MetricFamily{
		native,
		{Name: "c", Type: dto.MetricType_COUNTER, Metric: []dto.Metric{{Counter: &dto.Counter{Value: 5, StartTimestamp: future,
			Exemplar: &dto.Exemplar{Label: []dto.LabelPair{{Name: "id", Value: "c"}}, Value: 1}}}}},
		{Name: "d", Type: dto.MetricType_COUNTER, Metric: []dto.Metric{{Counter: &dto.Counter{Value: 6}, TimestampMs: 77}}},
	})))
	for i := range 3 {
		sc, err := s.Scrape(t.Context(), epoch, nil)
		if err != nil {
			t.Fatal(err)
		}
		checkUnique(t, sc)
		if len(sc.Histograms) != 1 || sc.Histograms[0].Int == nil || sc.Histograms[0].Int.Count != 3 || sc.Histograms[0].Start != 1_700_000_000_000 {
			t.Errorf("%+v", sc.Histograms)
		}
		if sc.Starts[0] != sc.Time {
			t.Errorf("a start timestamp in the future became %d at %d", sc.Starts[0], sc.Time)
		}
		want := fmt.Sprintf("exemplar %d {id=\"n\"} 2 1700000001000\nexemplar 0 {id=\"c\"} 1 %d\n", len(sc.Series), sc.Time)
		if i > 0 {
			want = " start=1700000000000\n" // of the histogram: no exemplar is new
		}
		if d := dump(sc); !strings.HasSuffix(d, want) {
			t.Errorf("%swant\n%s", d, want)
		}
	}
	if n := s.Stats().TimestampsIgnored; n != 3 {
		t.Errorf("%d timestamps ignored, want 3", n)
	}
	f.set(typeText, "x 1\n")
	sc, err := s.Scrape(t.Context(), epoch, nil)
	if err != nil || !strings.Contains(dump(sc), "native{i=\"0\"} stale\nc stale\n") {
		t.Errorf("%v %s", err, dump(sc))
	}
}
