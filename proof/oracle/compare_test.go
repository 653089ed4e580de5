// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/metadata"

	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// state is what was stored of a series at one scrape.
type state struct {
	there bool
	value promtest.Sample
	meta  metadata.Metadata
}

func (s state) String() string {
	if !s.there {
		return "nothing"
	}
	value, _, _ := strings.Cut(s.value.String(), "@")
	return fmt.Sprintf("%s (%s %q %q)", value, s.meta.Type, s.meta.Unit, s.meta.Help)
}

// point is a place in the comparison; scrape counts from 0, and is -1 where a sample
// has another time than the scrapes have.
type point struct {
	series string
	scrape int
}

// diff is where the two sides differ.
type diff struct {
	script string
	point
	theirs, ours state
}

func (d *diff) String() string {
	return fmt.Sprintf("%s, scrape %d: %.200s\n  Prometheus: %v\n  here:       %v", d.script, d.scrape, d.series, d.theirs, d.ours)
}

// compare finds where the two sides differ, in the order of the scrapes.
func compare(t *testing.T, sc script, theirs, ours *side) (found []diff) {
	a, b := theirs.points(t, sc), ours.points(t, sc)
	all := maps.Clone(a)
	maps.Copy(all, b)
	for p := range all {
		d := diff{sc.name, p, a[p], b[p]}
		if d.valuesDiffer() || d.metaDiffers() {
			found = append(found, d)
		}
	}
	slices.SortFunc(found, func(x, y diff) int { return cmp.Or(x.scrape-y.scrape, strings.Compare(x.series, y.series)) })
	return found
}

func (d *diff) valuesDiffer() bool {
	return d.theirs.there != d.ours.there || d.theirs.there && d.theirs.value.Stale() != d.ours.value.Stale() ||
		!d.theirs.value.Stale() && !d.theirs.value.Equal(d.ours.value)
}

// metaDiffers: a stale marker needs no metadata.
func (d *diff) metaDiffers() bool {
	return d.theirs.there && d.ours.there && !d.theirs.value.Stale() && !d.ours.value.Stale() && d.theirs.meta != d.ours.meta
}

// points is what a side has stored of a script.
func (s *side) points(t *testing.T, sc script) map[point]state {
	content, err := s.server.Samples(context.Background(), fmt.Sprintf(`{job=%q}`, sc.name), time.Time{}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	scrapes := map[int64]int{}
	up := content[fmt.Sprintf(`{__name__="up", instance=%q, job=%q}`, instance, sc.name)]
	for i, sample := range up {
		scrapes[sample.T] = i
	}
	if len(up) < len(sc.bodies) {
		t.Errorf("%s: of %d scrapes %d are there", sc.name, len(sc.bodies), len(up))
	}
	points := map[point]state{}
	s.exemplars(t, sc, scrapes, points)
	for name, samples := range content {
		for _, sample := range samples {
			n, ok := scrapes[sample.T]
			if !ok {
				n = -1
			}
			if n >= len(sc.bodies) {
				continue
			}
			given, _ := s.given.Load(sampleOf{name, sample.T})
			meta := given.(metadata.Metadata)
			if sample.T = 0; reported(metricOf(name)) {
				meta.Help = "" // each has words of its own
			}
			if strings.Contains(name, `__name__="scrape_duration_seconds"`) && !math.IsNaN(sample.V) {
				sample.V = 0
			}
			points[point{name, n}] = state{true, sample, meta}
		}
	}
	return points
}

// exemplars are points as well; one that has a time of its own is of no scrape.
func (s *side) exemplars(t *testing.T, sc script, scrapes map[int64]int, points map[point]state) {
	found, err := s.server.Exemplars(context.Background(), fmt.Sprintf(`{job=%q}`, sc.name))
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range found {
		for _, e := range of.Exemplars {
			n, ok := scrapes[e.Ts]
			if !ok {
				n = -1
			}
			points[point{fmt.Sprintf("%s # %s %d", of.SeriesLabels, e.Labels, n), n}] = state{there: true, value: promtest.Sample{V: e.Value}}
		}
	}
}
