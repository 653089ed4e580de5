// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

var described = &series.Series{
	Labels: labels.FromStrings("__name__", "a_seconds_total", "job", "docker"),
	Type:   model.MetricTypeCounter, Help: "What it is.", Unit: "seconds",
}

// TestMetadataEachTime: over 2.0 type, help and unit are with every series in every
// request, whatever was accepted before and whatever the time: a receiver takes what
// is missing for a change. Over 1.0 they come once in a while. With Omit neither ever
// has any of the three.
func TestMetadataEachTime(t *testing.T) {
	for _, omit := range []bool{false, true} {
		for _, p := range []Protocol{V2, V1} {
			e := newEncoder(nil)
			e.omit.Metadata = omit
			const start = 1_800_000_000_000
			for i, after := range []time.Duration{0, time.Second, metadataEvery, 2 * metadataEvery, -time.Minute} {
				at := start + int64(i)
				now := start + after.Milliseconds()
				var r request
				e.encode(&r, batch([]int64{at}, series.Row{Series: described, Samples: []series.Sample{{T: at, V: 1}}}), p, now)
				g, err := decode(map[Protocol]string{V1: "application/x-protobuf"}[p], r.body)
				if err != nil {
					t.Fatal(err)
				}
				e.accepted(now)
				if p == V1 {
					want := 1
					if omit || i == 1 {
						want = 0
					}
					if n := len(g.V1.Metadata); n != want {
						t.Errorf("omit=%v request %d: %d of metadata, want %d", omit, i, n, want)
					}
					continue
				}
				m, y := g.V2.Timeseries[0].Metadata, g.V2.Symbols
				typ, help, unit := writev2.Metadata_METRIC_TYPE_COUNTER, "What it is.", "seconds"
				if omit {
					typ, help, unit = writev2.Metadata_METRIC_TYPE_UNSPECIFIED, "", ""
				}
				if m.Type != typ || y[m.HelpRef] != help || y[m.UnitRef] != unit {
					t.Errorf("omit=%v request %d: %v, %q, %q", omit, i, m.Type, y[m.HelpRef], y[m.UnitRef])
				}
				for _, s := range y {
					if omit && (s == "What it is." || s == "seconds") {
						t.Errorf("request %d has the symbol %q", i, s)
					}
				}
			}
		}
	}
}
