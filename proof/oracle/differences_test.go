// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/metadata"
)

// difference is one that is meant: a line of DESIGN.md's table, of that name. It must be
// met in each of its scripts.
type difference struct {
	name    string
	scripts []string
	is      func(*diff) bool
}

// elsewhere are the lines that concern nothing which is compared here, and what holds them.
var elsewhere = map[string]string{
	"a target's URL":      "TestTargets",
	"type, help and unit": "Prometheus is given the flag here, and helps of up and scrape_* are left aside",
	"start timestamps":    "internal/scrape, TestCreated; proof/e2e, TestStartTimestamps",
	"exemplars and native histograms for an endpoint": "cmd/docker-remote-write, TestOmitReachesTheSender",
	"an engine that is still booting":                 "internal/scrape, TestHoldBackCaptures",
	"the end":                                         "internal/scrape, TestEnd",
}

var differences = []difference{
	{"a series whose labels equal one of ours (`up`, `scrape_*`, own metrics)", []string{"reports"}, func(d *diff) bool {
		return d.reported() && d.theirs.there && d.ours.there
	}},
	{"a stale marker in the payload", []string{"stale"}, func(d *diff) bool {
		return d.theirs.value.Stale() && d.ours.value.V != d.ours.value.V && !d.ours.value.Stale()
	}},
	{"`_created` of OpenMetrics counters, histograms and summaries", []string{"created"}, func(d *diff) bool {
		return strings.HasSuffix(d.metric(), "_created") && (!d.ours.there || d.ours.value.Stale()) || d.reported() && d.theirs.value.V > d.ours.value.V
	}},
	{"timestamps in the payload", []string{"timestamps-honored"}, func(d *diff) bool {
		return d.metric() == "a" && d.theirs.there != d.ours.there
	}},
	{"HELP, TYPE and UNIT that are not repeated", []string{"master-both", "less-said", "units", "unit-protobuf", "behind", "names", "openmetrics-odd"}, func(d *diff) bool {
		t, o := d.theirs.meta, d.ours.meta
		return !d.valuesDiffer() && (t.Type == o.Type || o.Type == model.MetricTypeUnknown) && (t.Help == o.Help || o.Help == "") && (t.Unit == o.Unit || o.Unit == "")
	}},
	{"which family a series belongs to", []string{"behind", "buckets", "created"}, func(d *diff) bool {
		return !d.valuesDiffer() && d.theirs.meta == metadata.Metadata{Type: model.MetricTypeUnknown}
	}},
	{"`le` and `quantile` of a family that gets its type later", []string{"buckets"}, func(d *diff) bool {
		return d.metric() == "h_bucket" && d.scrape >= 3 && (d.theirs.there != d.ours.there || d.theirs.value.Stale() != d.ours.value.Stale())
	}},
	{"a body that is broken in the middle, or over a limit", []string{"broken", "broken-protobuf", "samples"}, func(d *diff) bool {
		return !d.theirs.there && d.ours.value.Stale() || !d.ours.there && d.theirs.value.Stale()
	}},
	{"what is asked for", []string{"headers"}, func(d *diff) bool {
		return regexp.MustCompile(`name="(Accept|Accept-Encoding|User-Agent)"|"scrape_s`).MatchString(d.series)
	}},
	{"`scrape_series_added`", []string{
		"v20.10-both", "master-both", "vanish", "twice", "spellings", "openmetrics", "openmetrics-odd", "buckets", "native-float", "first-broken", "types",
	}, func(d *diff) bool { return d.metric() == "scrape_series_added" && !d.metaDiffers() }},
	{"limits", []string{"limits"}, func(d *diff) bool { return d.scrape == 1 }},
	{"a body over 128 KiB with a sample that takes more than that by itself, its exemplar included, or protobuf that cannot be followed field by field", []string{"long"}, func(d *diff) bool { return d.scrape == 1 }},
}

func (d *diff) metric() string { return metricOf(d.series) }

func metricOf(series string) string {
	_, name, _ := strings.Cut(series, `__name__="`)
	name, _, _ = strings.Cut(name, `"`)
	return name
}

func (d *diff) reported() bool { return reported(d.metric()) }

// reported: it is one of the series that each scrape adds.
func reported(metric string) bool { return metric == "up" || strings.HasPrefix(metric, "scrape_") }

// TestDocumented: DESIGN.md has the same differences.
func TestDocumented(t *testing.T) {
	design, err := os.ReadFile("../../DESIGN.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(design), "| what | Prometheus | here |\n|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	var documented, listed []string
	for line := range strings.Lines(table + "\n") {
		name, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " |")
		documented = append(documented, name)
	}
	for _, m := range differences {
		listed = append(listed, m.name)
	}
	listed = slices.Sorted(slices.Values(append(listed, slices.Collect(maps.Keys(elsewhere))...)))
	if d := cmp.Diff(listed, slices.Sorted(slices.Values(documented))); d != "" {
		t.Errorf("the list and DESIGN.md differ:\n%s", d)
	}
}
