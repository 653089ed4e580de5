// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// TestBatchOfTwoSegments: a series that only the segments know has one row in a batch
// that is read from several of them.
func TestBatchOfTwoSegments(t *testing.T) {
	dir := memoryDir(t)
	var s *Spool
	var reg *series.Registry
	open := func() {
		t.Helper()
		reg = series.NewRegistry()
		var err error
		if s, err = Open(dir, Options{Series: reg}); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 3 {
		open()
		mustClaim(t, s, "a")
		sc := &series.Scrape{Time: int64(1_800_000_000_000 + n*15_000)}
		for _, name := range []string{"a", "b", "c"} {
			sc.Series = append(sc.Series, reg.Number(&series.Series{Labels: labels.FromStrings("__name__", name)}))
			sc.Values = append(sc.Values, float64(n))
		}
		mustAppend(t, s, sc)
		closeSpool(t, s)
	}
	open()
	defer closeSpool(t, s)
	c := mustClaim(t, s, "a")[0]
	var b series.Batch
	if err := c.Read(ctx(), &b, c.Position(), Limits{}); err != nil {
		t.Fatal(err)
	}
	if len(b.Times) != 3 || len(b.Rows) != 3 || b.Samples != 9 {
		t.Fatalf("%d rows and %d samples of %d scrapes, want 3, 9 and 3", len(b.Rows), b.Samples, len(b.Times))
	}
	for _, r := range b.Rows {
		if len(r.Samples) != 3 {
			t.Errorf("%v: %v", r.Series.Labels, r.Samples)
		}
	}
}
