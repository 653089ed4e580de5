// SPDX-License-Identifier: Apache-2.0

package remotewrite_test

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gogo/protobuf/types"
	dto "github.com/prometheus/prometheus/prompb/io/prometheus/client"

	"github.com/docker-remote-write/docker-remote-write/internal/remotewrite"
	"github.com/docker-remote-write/docker-remote-write/internal/scrape"
	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// TestSameExemplars: a native histogram shows the same two exemplars in every scrape,
// now and then a newer one, and the process is restarted in between. Prometheus takes
// every request, and has each exemplar once.
func TestSameExemplars(t *testing.T) {
	for _, p := range protocols {
		t.Run(p.String(), func(t *testing.T) {
			var status []int
			prom := prometheus(t, promtest.Options{OnRequest: func(r *promtest.Request) { status = append(status, r.Status) }})
			h := newHost(t, prom.WriteURL(), p)
			var body []byte
			target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited")
				w.Write(body)
			}))
			defer target.Close()
			stamps := []int64{h.at - 2_000, h.at - 1_000}
			for process := range 2 {
				s, err := scrape.New(scrape.Options{Target: target.URL, Job: "docker", Instance: "a", NativeHistograms: true, Log: silent(), Series: hostNumbers, Resumed: h.spool.Begun()})
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				for k := range 10 {
					h.at += 15_000
					if k == 5 {
						stamps[process] = h.at - 500
					}
					body = nativeWithExemplars(t, stamps)
					sc, err := s.Scrape(t.Context(), time.UnixMilli(h.at), nil)
					if err != nil {
						t.Fatal(err)
					}
					h.append(sc)
					h.run(nil)
				}
				h.reopen()
			}
			h.check(prom, nil)
			if len(status) != 20 {
				t.Errorf("%d requests, want 20", len(status))
			}
			for i, s := range status {
				if s/100 != 2 {
					t.Errorf("request %d was answered %d", i, s)
				}
			}
			x, err := prom.Exemplars(t.Context(), `{__name__="native"}`)
			if err != nil {
				t.Fatal(err)
			}
			// Over 1.0 Prometheus drops those that come with a new series.
			want := map[remotewrite.Protocol]int{remotewrite.V2: 4, remotewrite.V1: 2}[p]
			if len(x) != 1 || len(x[0].Exemplars) != want {
				t.Errorf("%+v, want %d exemplars", x, want)
			}
			if tally := h.cursor.Tally(); tally.Delivered != tally.Sum() {
				t.Errorf("%+v", tally)
			}
		})
	}
}

// nativeWithExemplars is a body with a native histogram that has exemplars of these
// times, in milliseconds.
func nativeWithExemplars(t *testing.T, stamps []int64) []byte {
	t.Helper()
	m := &dto.Histogram{
		SampleCount: 3, SampleSum: 4, Schema: 1, ZeroThreshold: 0.001, ZeroCount: 1,
		PositiveSpan: []dto.BucketSpan{{Offset: 0, Length: 1}}, PositiveDelta: []int64{2},
	}
	for i, ms := range stamps {
		m.Exemplars = append(m.Exemplars, &dto.Exemplar{
			Label: []dto.LabelPair{{Name: "trace_id", Value: fmt.Sprint(i)}}, Value: 1.5,
			Timestamp: &types.Timestamp{Seconds: ms / 1000, Nanos: int32(ms % 1000 * 1_000_000)},
		})
	}
	f := &dto.MetricFamily{Name: "native", Help: "A histogram.", Type: dto.MetricType_HISTOGRAM, Metric: []dto.Metric{{Histogram: m}}}
	b, err := f.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.AppendUvarint(nil, uint64(len(b))), b...)
}
