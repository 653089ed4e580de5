// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// Over 2.0 the type and the unit are with every series in every request, the help
// text in the first one that arrives and then every metadataEvery.
func TestHelpTextOnceInAWhile(t *testing.T) {
	s := &series.Series{
		Labels: labels.FromStrings("__name__", "a_seconds_total", "job", "docker"),
		Type:   model.MetricTypeCounter, Help: "What it is.", Unit: "seconds",
	}
	e := newEncoder(nil)
	const start = 1_800_000_000_000
	for i, tc := range []struct {
		name     string
		now      time.Duration
		accepted bool
		help     string
	}{
		{"first, and lost", 0, false, "What it is."},
		{"first, sent again", time.Second, true, "What it is."},
		{"soon after", 15 * time.Second, true, ""},
		{"just before it is due", metadataEvery, true, ""},
		{"due, and lost", metadataEvery + time.Second, false, "What it is."},
		{"due", metadataEvery + 2*time.Second, true, "What it is."},
		{"the clock was set back", -time.Minute, true, "What it is."},
		{"and soon after that", 0, true, ""},
	} {
		at := start + int64(i)
		b := series.Batch{To: series.Position{Scrape: 1}, Times: []int64{at}, Samples: 1,
			Rows: []series.Row{{Series: s, Samples: []series.Sample{{T: at, V: 1}}}}}
		var r request
		now := start + tc.now.Milliseconds()
		e.encode(&r, &b, V2, now)
		raw, err := snappy.Decode(nil, r.body)
		if err != nil {
			t.Fatal(err)
		}
		var got writev2.Request
		if err := got.Unmarshal(raw); err != nil {
			t.Fatal(err)
		}
		m := got.Timeseries[0].Metadata
		if m.Type != writev2.Metadata_METRIC_TYPE_COUNTER || got.Symbols[m.UnitRef] != "seconds" {
			t.Errorf("%s: type %v, unit %q", tc.name, m.Type, got.Symbols[m.UnitRef])
		}
		if got.Symbols[m.HelpRef] != tc.help {
			t.Errorf("%s: help %q, want %q", tc.name, got.Symbols[m.HelpRef], tc.help)
		}
		if tc.accepted {
			e.accepted(now)
		}
	}
}
