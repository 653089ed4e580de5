// SPDX-License-Identifier: Apache-2.0

package promtest

import (
	"bytes"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// client does not keep connections, so that none outlives its test.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

type message interface{ Marshal() ([]byte, error) }

// push sends a hand-built request and returns the answer, its body read.
func push(t *testing.T, c *http.Client, url string, m message) *http.Response {
	t.Helper()
	raw, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(snappy.Encode(nil, raw)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Encoding", "snappy")
	if _, ok := m.(*writev2.Request); ok {
		r.Header.Set("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request")
		r.Header.Set("X-Prometheus-Remote-Write-Version", "2.0.0")
	} else {
		r.Header.Set("Content-Type", "application/x-protobuf")
		r.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	}
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res
}

func one(name string, samples ...prompb.Sample) *prompb.WriteRequest {
	return &prompb.WriteRequest{
		Timeseries: []prompb.TimeSeries{{Labels: []prompb.Label{{Name: "__name__", Value: name}, {Name: "job", Value: "docker"}}, Samples: samples}},
		Metadata:   []prompb.MetricMetadata{{Type: prompb.MetricMetadata_GAUGE, MetricFamilyName: name, Help: "help", Unit: "bytes"}},
	}
}

func two(name string, samples ...writev2.Sample) *writev2.Request {
	return &writev2.Request{
		Symbols: []string{"", "__name__", name, "job", "docker", "help", "bytes"},
		Timeseries: []writev2.TimeSeries{{
			LabelsRefs: []uint32{1, 2, 3, 4}, Samples: samples,
			Metadata: writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_COUNTER, HelpRef: 5, UnitRef: 6},
		}},
	}
}

func content(t *testing.T, s *Server) Content {
	t.Helper()
	c, err := s.Samples(t.Context(), `{__name__=~".+"}`, time.Time{}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestContentIsExact(t *testing.T) {
	var mu sync.Mutex
	var seen []*Request
	s := start(t, Options{OnRequest: func(r *Request) { mu.Lock(); seen = append(seen, r); mu.Unlock() }})
	now := time.Now().UnixMilli()
	nan := math.Float64frombits(0x7ff8000000000123)
	stale := math.Float64frombits(value.StaleNaN)
	if res := push(t, client, s.WriteURL(), one("one", prompb.Sample{Timestamp: now, Value: math.Inf(-1)}, prompb.Sample{Timestamp: now + 1, Value: nan})); res.StatusCode != 204 {
		t.Fatal(res.Status)
	}
	res := push(t, client, s.WriteURL(), two("two", writev2.Sample{Timestamp: now, Value: 1.5, StartTimestamp: now - 9}, writev2.Sample{Timestamp: now + 1, Value: stale}))
	if res.StatusCode != 204 || res.Header.Get("X-Prometheus-Remote-Write-Samples-Written") != "2" {
		t.Fatal(res.Status, res.Header)
	}
	want := Content{
		`{__name__="one", job="docker"}`: {{T: now, V: math.Inf(-1)}, {T: now + 1, V: nan}},
		`{__name__="two", job="docker"}`: {{T: now, V: 1.5}, {T: now + 1, V: stale}},
	}
	if d := cmp.Diff(want, content(t, s)); d != "" {
		t.Error(d)
	}
	if (Sample{V: nan}).Equal(Sample{V: math.NaN()}) || (Sample{}).Equal(Sample{V: math.Copysign(0, -1)}) || (Sample{T: 1}).Equal(Sample{T: 2}) {
		t.Error("unequal samples pass for equal ones")
	}
	if len(seen) != 2 || seen[0].Proto() != "1.0" || seen[1].Proto() != "2.0" || seen[1].Status != 204 {
		t.Fatalf("the tap saw %v", seen)
	}
	m, err := seen[1].V2()
	if err != nil || m.Timeseries[0].Samples[0].StartTimestamp != now-9 {
		t.Error("the start timestamp is not in the request seen", m, err)
	}
	if n, err := seen[0].Samples(); n != 2 || err != nil {
		t.Error(n, err)
	}
	wantMeta := map[string]metadata.Metadata{
		"one": {Type: model.MetricTypeGauge, Help: "help", Unit: "bytes"},
		"two": {Type: model.MetricTypeCounter, Help: "help", Unit: "bytes"},
	}
	if d := cmp.Diff(wantMeta, s.Metadata()); d != "" {
		t.Error(d)
	}
}

func TestRefusals(t *testing.T) {
	s := start(t, Options{})
	now := time.Now().UnixMilli()
	push(t, client, s.WriteURL(), one("a", prompb.Sample{Timestamp: now, Value: 1}))
	for _, c := range []struct {
		name    string
		m       message
		status  int
		written string
	}{
		{"1.0 out of order rolls all back", one("a", prompb.Sample{Timestamp: now - 5, Value: 1}, prompb.Sample{Timestamp: now + 5, Value: 2}), 400, ""},
		{"2.0 out of order writes the rest", two("a", writev2.Sample{Timestamp: now - 5, Value: 1}, writev2.Sample{Timestamp: now + 7, Value: 2}), 400, "1"},
		{"another value at the same time", one("a", prompb.Sample{Timestamp: now + 7, Value: 3}), 400, ""},
		{"the same again", one("a", prompb.Sample{Timestamp: now + 7, Value: 2}), 204, ""},
		{"the future", two("a", writev2.Sample{Timestamp: now + 3600_000}), 400, "0"},
	} {
		res := push(t, client, s.WriteURL(), c.m)
		if got := res.Header.Get("X-Prometheus-Remote-Write-Samples-Written"); res.StatusCode != c.status || got != c.written {
			t.Errorf("%s: %s, written %q", c.name, res.Status, got)
		}
	}
	want := Content{`{__name__="a", job="docker"}`: {{T: now, V: 1}, {T: now + 7, V: 2}}}
	if d := cmp.Diff(want, content(t, s)); d != "" {
		t.Error(d)
	}
}

func TestOutOfOrderWindow(t *testing.T) {
	s := start(t, Options{OutOfOrderWindow: time.Hour})
	now := time.Now().UnixMilli()
	for _, ts := range []int64{now, now - 1000, now - 1800_000} {
		if res := push(t, client, s.WriteURL(), two("a", writev2.Sample{Timestamp: ts, Value: 1})); res.StatusCode != 204 {
			t.Fatal(res.Status)
		}
	}
	if res := push(t, client, s.WriteURL(), two("a", writev2.Sample{Timestamp: now - 7200_000})); res.StatusCode != 400 {
		t.Error("beyond the window:", res.Status)
	}
	want := Content{`{__name__="a", job="docker"}`: {{T: now - 1800_000, V: 1}, {T: now - 1000, V: 1}, {T: now, V: 1}}}
	if d := cmp.Diff(want, content(t, s)); d != "" {
		t.Error(d)
	}
}

func TestAccept(t *testing.T) {
	s := start(t, Options{Accept: Accept1, NoListener: true})
	c := &http.Client{Transport: s.Transport()}
	now := time.Now().UnixMilli()
	for _, step := range []struct {
		accept   Accept
		one, two int
		stored   int
	}{{Accept1, 204, 415, 1}, {Accept2, 415, 204, 2}, {AcceptBoth, 204, 204, 4}, {AcceptAnyAs1, 204, 204, 5}} {
		s.SetAccept(step.accept)
		now++
		first := push(t, c, "http://any/api/v1/write", one("one", prompb.Sample{Timestamp: now}))
		second := push(t, c, "http://any/api/v1/write", two("two", writev2.Sample{Timestamp: now}))
		if first.StatusCode != step.one || second.StatusCode != step.two {
			t.Errorf("accept %d: 1.0 %s, 2.0 %s", step.accept, first.Status, second.Status)
		}
		written := second.Header.Get("X-Prometheus-Remote-Write-Samples-Written")
		if (written != "") != (step.two == 204 && step.accept != AcceptAnyAs1) {
			t.Errorf("accept %d: written %q", step.accept, written)
		}
		if got := content(t, s).Samples(); got != step.stored {
			t.Errorf("accept %d: %d samples stored", step.accept, got)
		}
	}
}

func TestNativeHistogram(t *testing.T) {
	s := start(t, Options{})
	now := time.Now().UnixMilli()
	h := &histogram.Histogram{
		Count: 5, Sum: 7.25, ZeroThreshold: 0.001, ZeroCount: 1, Schema: 1,
		PositiveSpans: []histogram.Span{{Offset: 0, Length: 2}}, PositiveBuckets: []int64{3, -2},
	}
	custom := &histogram.Histogram{
		Count: 3, Sum: 2, Schema: histogram.CustomBucketsSchema, CustomValues: []float64{1, 2},
		PositiveSpans: []histogram.Span{{Offset: 0, Length: 2}}, PositiveBuckets: []int64{1, 1},
	}
	m := two("h")
	m.Timeseries[0].Metadata.Type = writev2.Metadata_METRIC_TYPE_HISTOGRAM
	m.Timeseries[0].Histograms = []writev2.Histogram{writev2.FromIntHistogram(0, now, h), writev2.FromIntHistogram(0, now+1, custom)}
	m.Symbols = append(m.Symbols, "trace_id", "abc")
	m.Timeseries[0].Exemplars = []writev2.Exemplar{{LabelsRefs: []uint32{7, 8}, Value: 1, Timestamp: now}}
	res := push(t, client, s.WriteURL(), m)
	if res.StatusCode != 204 || res.Header.Get("X-Prometheus-Remote-Write-Histograms-Written") != "2" {
		t.Fatal(res.Status, res.Header)
	}
	want := Content{`{__name__="h", job="docker"}`: {{T: now, H: h}, {T: now + 1, H: custom}}}
	if d := cmp.Diff(want, content(t, s)); d != "" {
		t.Error(d)
	}
	v, err := s.Query(t.Context(), "histogram_count(h)", time.UnixMilli(now))
	if err != nil || len(v) != 1 || v[0].F != 5 {
		t.Error(v, err)
	}
	ex, err := s.Exemplars(t.Context(), "h")
	if err != nil || len(ex) != 1 || ex[0].Exemplars[0].Labels.Get("trace_id") != "abc" {
		t.Error(ex, err)
	}
}

func TestStartTimestamps(t *testing.T) {
	s := start(t, Options{StartTimestamps: true})
	now := time.Now().UnixMilli()
	push(t, client, s.WriteURL(), two("c", writev2.Sample{Timestamp: now, Value: 4, StartTimestamp: now - 100}))
	want := Content{`{__name__="c", job="docker"}`: {{T: now - 100, V: 0}, {T: now, V: 4}}}
	if d := cmp.Diff(want, content(t, s)); d != "" {
		t.Error(d)
	}
}

func TestRestartOnTheSameDirectory(t *testing.T) {
	dir := t.TempDir()
	now := time.Now().UnixMilli()
	s := start(t, Options{Dir: dir})
	push(t, client, s.WriteURL(), one("a", prompb.Sample{Timestamp: now, Value: 1}))
	addr := s.Addr()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Get(s.URL()); err == nil {
		t.Error("a closed server answers")
	}
	s = start(t, Options{Dir: dir, Addr: addr})
	push(t, client, s.WriteURL(), one("a", prompb.Sample{Timestamp: now + 1, Value: 2}))
	want := Content{`{__name__="a", job="docker"}`: {{T: now, V: 1}, {T: now + 1, V: 2}}}
	if d := cmp.Diff(want, content(t, s)); d != "" {
		t.Error(d)
	}
}

func TestTemporaryDirectoryIsRemoved(t *testing.T) {
	s := start(t, Options{})
	dir := s.Dir()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Error(dir, "is still there:", err)
	}
}

func TestMiddlewareCutsAfterStoring(t *testing.T) {
	s := start(t, Options{Middleware: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(discard{http.Header{}}, r)
			panic(http.ErrAbortHandler)
		})
	}})
	raw, err := one("a", prompb.Sample{Timestamp: time.Now().UnixMilli()}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	r, _ := http.NewRequest(http.MethodPost, s.WriteURL(), bytes.NewReader(snappy.Encode(nil, raw)))
	r.Header.Set("Content-Encoding", "snappy")
	if res, err := client.Do(r); err == nil {
		t.Error("an answer came:", res.Status)
	}
	if n := content(t, s).Samples(); n != 1 {
		t.Errorf("%d samples stored", n)
	}
}

type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

func TestBadOptions(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(file, []byte("groups: [{name: g, rules: [{alert: Down, expr: 'up ='}]}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]Options{
		"rules":     {RuleFiles: []string{file}},
		"directory": {Dir: filepath.Join(file, "not-a-directory")},
		"address":   {Addr: "127.0.0.1:notaport"},
	} {
		if s, err := Start(o); err == nil {
			t.Errorf("%s: no error", name)
			_ = s.Close()
		}
	}
	s := start(t, Options{})
	if _, err := s.Query(t.Context(), "up =", time.Now()); err == nil {
		t.Error("a malformed query passes")
	}
	if _, err := s.Samples(t.Context(), "{", time.Time{}, time.Time{}); err == nil {
		t.Error("a malformed selector passes")
	}
}
