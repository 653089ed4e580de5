// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
	"github.com/docker-remote-write/docker-remote-write/proof/bench/replay"
	"github.com/docker-remote-write/docker-remote-write/proof/bench/sink"
)

// TestJudgeFindsWhatIsBroken hands a receiver three scrapes, one of them with something
// wrong in it: a comparison that passes that proves nothing.
func TestJudgeFindsWhatIsBroken(t *testing.T) {
	const broken = 2
	for _, tc := range []struct {
		name  string
		alter func(all []prompb.TimeSeries) []prompb.TimeSeries
		cut   []int
		good  bool
	}{
		{"as it was served", func(all []prompb.TimeSeries) []prompb.TimeSeries { return all }, nil, true},
		{"in another order", func(all []prompb.TimeSeries) []prompb.TimeSeries { return append(all[3:], all[:3]...) }, nil, true},
		{"not there", func([]prompb.TimeSeries) []prompb.TimeSeries { return nil }, nil, false},
		{"cut off", func([]prompb.TimeSeries) []prompb.TimeSeries { return nil }, []int{broken}, true},
		{"failed, as up says", func(all []prompb.TimeSeries) []prompb.TimeSeries {
			up := labels.FromStrings("__name__", "up", "job", "docker")
			return []prompb.TimeSeries{{Labels: prompb.FromLabels(up, nil), Samples: []prompb.Sample{{Timestamp: all[0].Samples[0].Timestamp}}}}
		}, nil, true},
		{"without a series", func(all []prompb.TimeSeries) []prompb.TimeSeries { return all[1:] }, nil, false},
		{"with one bit more", func(all []prompb.TimeSeries) []prompb.TimeSeries {
			v := &all[0].Samples[0].Value
			*v = math.Nextafter(*v, math.Inf(1))
			return all
		}, nil, false},
		{"with two values swapped", func(all []prompb.TimeSeries) []prompb.TimeSeries {
			all[0].Samples, all[1].Samples = all[1].Samples, all[0].Samples
			return all
		}, nil, false},
		{"with another label", func(all []prompb.TimeSeries) []prompb.TimeSeries {
			all[0].Labels[1].Value = "other"
			return all
		}, nil, false},
		{"and what was never served", func(all []prompb.TimeSeries) []prompb.TimeSeries {
			return append(all, prompb.TimeSeries{Labels: all[0].Labels, Samples: []prompb.Sample{{Value: 7, Timestamp: all[0].Samples[0].Timestamp + 1}}})
		}, nil, false},
		{"and its end", func(all []prompb.TimeSeries) []prompb.TimeSeries { return append(all, ended(all)...) }, nil, true},
		{"and half of its end", func(all []prompb.TimeSeries) []prompb.TimeSeries { return append(all, ended(all[1:])...) }, nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := sink.New(sink.Options{Sequence: replay.SequenceName, Content: replay.Prefix})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			f := replay.Synthetic(6)
			j := &judge{feed: feed{Feed: Feed{Job: "docker", Frames: f}}, sink: s, keys: map[string]uint64{}, seen: map[int64]bool{}, cut: tc.cut}
			for n := 1; n <= 3; n++ {
				all := served(t, f, n)
				if n == broken {
					all = tc.alter(all)
				}
				post(t, s, all)
			}
			if err := j.compare(3); (err == nil) != tc.good {
				t.Errorf("says %v", err)
			}
		})
	}
}

// served is what is to arrive of the n-th answer.
func served(t *testing.T, f *replay.Frames, n int) (all []prompb.TimeSeries) {
	t.Helper()
	var sc series.Scrape
	if err := parse(&sc, f.Append(nil, n-1), map[string]*series.Series{}); err != nil {
		t.Fatal(err)
	}
	for i, s := range sc.Series {
		all = append(all, prompb.TimeSeries{
			Labels:  prompb.FromLabels(s.Labels, nil),
			Samples: []prompb.Sample{{Value: sc.Values[i], Timestamp: int64(n) * 1000}},
		})
	}
	return all
}

// ended are stale markers half a second later.
func ended(all []prompb.TimeSeries) (ends []prompb.TimeSeries) {
	for _, ts := range all {
		ends = append(ends, prompb.TimeSeries{
			Labels:  ts.Labels,
			Samples: []prompb.Sample{{Value: math.Float64frombits(value.StaleNaN), Timestamp: ts.Samples[0].Timestamp + 500}},
		})
	}
	return ends
}

func post(t *testing.T, s *sink.Sink, all []prompb.TimeSeries) {
	t.Helper()
	raw, err := (&prompb.WriteRequest{Timeseries: all}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(snappy.Encode(nil, raw)))
	req.Header.Set("Content-Encoding", "snappy")
	w := httptest.NewRecorder()
	if s.ServeHTTP(w, req); w.Code != http.StatusNoContent {
		t.Fatal(fmt.Sprint(w.Code, w.Body))
	}
}
