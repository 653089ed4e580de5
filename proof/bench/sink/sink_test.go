// SPDX-License-Identifier: Apache-2.0

package sink

import (
	"bytes"
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// point is one sample of the series of that name.
type point struct {
	name string
	t    int64
	v    float64
}

func one(t *testing.T, points []point) []byte {
	t.Helper()
	var w prompb.WriteRequest
	for _, p := range points {
		w.Timeseries = append(w.Timeseries, prompb.TimeSeries{
			Labels:  []prompb.Label{{Name: "__name__", Value: p.name}, {Name: "job", Value: "docker"}},
			Samples: []prompb.Sample{{Timestamp: p.t, Value: p.v}},
		})
	}
	raw, err := w.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func two(t *testing.T, points []point) []byte {
	t.Helper()
	symbols := writev2.NewSymbolTable()
	var w writev2.Request
	for _, p := range points {
		refs := symbols.SymbolizeLabels(labels.FromStrings("__name__", p.name, "job", "docker"), nil)
		w.Timeseries = append(w.Timeseries, writev2.TimeSeries{LabelsRefs: refs, Samples: []writev2.Sample{{Timestamp: p.t, Value: p.v}}})
	}
	w.Symbols = symbols.Symbols()
	raw, err := w.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func post(t *testing.T, s *Sink, contentType string, raw []byte) *http.Response {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, s.URL(), bytes.NewReader(snappy.Encode(nil, raw)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("Content-Type", contentType)
	tr := &http.Transport{DisableKeepAlives: true}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}

func TestCountsBothProtocols(t *testing.T) {
	points := []point{{"seq", 1000, 1}, {"a", 1000, 7}, {"seq", 2000, 2}, {"a", 2000, 8}, {"seq", 4000, 4}, {"a", 1500, 8}, {"a", 2000, 8}}
	for _, tc := range []struct {
		name, contentType string
		raw               []byte
		written           string
	}{
		{"1.0", "application/x-protobuf", one(t, points), ""},
		{"2.0", "application/x-protobuf;proto=io.prometheus.write.v2.Request", two(t, points), "7"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := New(Options{Sequence: "seq", Content: "a"})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			resp := post(t, s, tc.contentType, tc.raw)
			if resp.StatusCode != http.StatusNoContent || resp.Header.Get("X-Prometheus-Remote-Write-Samples-Written") != tc.written {
				t.Fatalf("answered %s, written %q", resp.Status, resp.Header.Get("X-Prometheus-Remote-Write-Samples-Written"))
			}
			wire := len(snappy.Encode(nil, tc.raw))
			want := Totals{Requests: 1, Bytes: wire, Samples: 7, OutOfOrder: 1, Repeated: 1, Waited: 7, WaitedBytes: float64(wire)}
			if d := cmp.Diff(want, s.Totals()); d != "" {
				t.Error(d)
			}
			if n := s.Missing("docker", 1, 4); n != 1 {
				t.Errorf("%d of the sequence numbers 1 to 4 are missing, want one, 3", n)
			}
			if _, ok := s.Arrived("docker", 3); ok {
				t.Error("3 has arrived")
			}
		})
	}
}

// TestContentIsExact: what is summed of a job and a time is the same however it came,
// and another with any other value, series, job or time.
func TestContentIsExact(t *testing.T) {
	s, err := New(Options{Sequence: "seq", Content: "a"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	key := func(name string) uint64 { return s.Key(labels.FromStrings("__name__", name, "job", "docker")) }
	stale := math.Float64frombits(value.StaleNaN)
	later := time.Now().Add(time.Hour).UnixMilli()
	post(t, s, "application/x-protobuf", one(t, []point{{"a1", 1000, 1}, {"a1", 2000, stale}, {"b", 1000, 4}}))
	post(t, s, "application/x-protobuf;proto=io.prometheus.write.v2.Request", two(t, []point{{"a1", 1000, 1}, {"a2", 1000, 2}, {"a2", later, 5}, {"a1", 2000, 3}}))
	want := map[int64]Content{1000: {}, 2000: {Stale: 1}, later: {}}
	for _, p := range []point{{"a2", 1000, 2}, {"a1", 1000, 1}, {"a2", later, 5}} {
		c := want[p.t]
		c.Add(key(p.name), p.v)
		want[p.t] = c
	}
	if d := cmp.Diff(want, s.Content("docker")); d != "" {
		t.Error(d)
	}
	if got := s.Totals(); got.Repeated != 2 || got.Altered != 1 || got.Waited != 6 {
		t.Errorf("totals %+v", got)
	}
	var swapped Content
	swapped.Add(key("a1"), 2)
	swapped.Add(key("a2"), 1)
	if swapped == want[1000] {
		t.Error("two values that are swapped sum up to the same")
	}
	if len(s.Content("other")) > 0 {
		t.Error("content of another job")
	}
}

func TestDownAndUpKeepTheAddress(t *testing.T) {
	s, err := New(Options{Sequence: "seq", Content: "a"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	addr := s.Addr
	if err := s.Down(); err != nil {
		t.Fatal(err)
	}
	if _, err := http.Get(s.URL()); err == nil {
		t.Fatal("a connection was accepted while down")
	}
	if err := s.Up(); err != nil {
		t.Fatal(err)
	}
	if s.Addr != addr {
		t.Errorf("came back at %s, was at %s", s.Addr, addr)
	}
	s.Fail(http.StatusServiceUnavailable)
	if resp := post(t, s, "application/x-protobuf", one(t, []point{{"seq", 1, 1}})); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("answered %s while told to fail", resp.Status)
	}
	s.Fail(0)
	post(t, s, "application/x-protobuf", one(t, []point{{"seq", 1, 1}}))
	if !s.Wait(time.Second, func() bool { return s.Missing("docker", 1, 1) == 0 }) || s.Resumed().IsZero() {
		t.Error("the sample has not arrived after Fail(0)")
	}
	if got := s.Totals(); got.Rejected != 1 || got.Requests != 1 {
		t.Errorf("totals %+v", got)
	}
}

func TestMalformed(t *testing.T) {
	s, err := New(Options{Sequence: "seq", Content: "a"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, raw := range [][]byte{{0x0a, 0xff}, two(t, []point{{"a", 1, 1}})[2:]} {
		if resp := post(t, s, "application/x-protobuf;proto=io.prometheus.write.v2.Request", raw); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%x answered %s", raw, resp.Status)
		}
	}
	if got := s.Totals(); got.Malformed != 2 || got.Error == "" || got.Samples != 0 {
		t.Errorf("totals %+v", got)
	}
}
