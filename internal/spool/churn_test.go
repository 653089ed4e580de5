// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// TestSeriesThatComeAndGo: series that were never there before come with each scrape and
// are gone with the next, a million of them, through an outage of both endpoints. Their
// numbers are used again, however many go by; no sample gets into another's series; and in the
// end nobody holds any.
func TestSeriesThatComeAndGo(t *testing.T) {
	const width, scrapes = 1000, 1000
	reg := series.NewRegistry()
	s, err := Open(memoryDir(t), Options{Series: reg, patience: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer closeSpool(t, s)
	cs := mustClaim(t, s, "a", "b")
	named := func(n int) *series.Series {
		return reg.Number(&series.Series{Labels: labels.FromStrings("__name__", "m", "n", strconv.Itoa(n)), Type: model.MetricTypeGauge})
	}
	most, got := 0, [2]int{}
	read := func(i int) {
		t.Helper()
		var b series.Batch
		for {
			if err := cs[i].Read(ctx(), &b, cs[i].Position(), Limits{Samples: 10 * width}); err != nil {
				t.Fatal(err)
			}
			if b.To == b.From {
				return
			}
			for _, row := range b.Rows {
				if len(row.Samples) != 1 || row.Series.Labels.Get("n") != strconv.Itoa(int(row.Samples[0].V)) {
					t.Fatalf("%v has the samples %v", row.Series.Labels, row.Samples)
				}
			}
			most = max(most, reg.Len())
			got[i] += b.Samples
			if err := ack(cs[i], b.To, series.Tally{Delivered: uint64(b.Samples)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	sc := &series.Scrape{}
	for n := range scrapes {
		last := append([]*series.Series(nil), sc.Series...)
		sc.Reset()
		sc.Time = int64(1_800_000_000_000 + n*15_000)
		for i := range width {
			sc.Series = append(sc.Series, named(n*width+i))
			sc.Values = append(sc.Values, float64(n*width+i))
		}
		mustAppend(t, s, sc)
		reg.Release(last)
		if out := n/200%2 == 1; !out {
			read(0)
			if n%10 == 0 {
				read(1)
			}
		}
		most = max(most, reg.Len())
	}
	reg.Release(sc.Series)
	read(0)
	read(1)
	if got != [2]int{width * scrapes, width * scrapes} {
		t.Errorf("%v samples arrive of %d", got, width*scrapes)
	}
	// What a segment defines is held while it is written, and once more by each reader; the
	// ring holds what is in it.
	segment := segmentBytes / 10
	if limit := 3*segment + (defaultRing/16 + tailScrapes*width); most > limit {
		t.Errorf("%d series were held at once, more than %d", most, limit)
	}
	closeSpool(t, s)
	if n := reg.Len(); n > tailScrapes*width {
		t.Errorf("%d series are held when all is over", n)
	}
	balanced(t, cs...)
	t.Logf("%d series at once of %d", most, width*scrapes)
}
