// SPDX-License-Identifier: Apache-2.0

// Package series is the vocabulary that the scraper, the spool and the remote
// write client share: what a series is, what one scrape is, and the reasons for
// which a sample can be lost. It knows none of them.
package series

import (
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
)

// Series is the identity of one time series and what is known about its family.
// A Registry gives it its number; it is immutable from then on.
type Series struct {
	// Ref is the number. A series with the same labels and other metadata has
	// another number on the same Line, which is the number of the first of them.
	Ref, Line Ref
	// Labels is the full, sorted label set as it is sent: the metric name, the
	// labels of the exposition, job, instance and the external labels.
	Labels labels.Labels
	// Type is model.MetricTypeUnknown where the exposition names none.
	Type model.MetricType
	// Help and Unit are empty where the exposition names none.
	Help, Unit string
	// Family is the name of the metric family where FamilyOf does not tell it: the
	// counter c_total and the info i_info of OpenMetrics belong to c and i.
	Family string
}

// FamilyOf is the metric family of a series, as far as its name and type tell: the
// name without what a histogram or a summary puts behind it.
func FamilyOf(name string, t model.MetricType) string {
	var suffixes []string
	switch t {
	case model.MetricTypeHistogram:
		suffixes = []string{"_bucket", "_sum", "_count"}
	case model.MetricTypeGaugeHistogram:
		suffixes = []string{"_bucket", "_gsum", "_gcount"}
	case model.MetricTypeSummary:
		suffixes = []string{"_sum", "_count"}
	}
	for _, x := range suffixes {
		if base, ok := strings.CutSuffix(name, x); ok && base != "" {
			return base
		}
	}
	return name
}

// Scrape is the outcome of one scrape: one time and, in columns, a value for
// each series that had one, stale markers included. Values[i] and Starts[i]
// belong to Series[i], which whoever fills the scrape holds. No label set stands
// twice in a scrape, and the order of the series is kept all the way to the receiver.
type Scrape struct {
	// Target is the number of the target, 0 the engine's. It says which scrapes follow one
	// another in time, for as long as the process runs; who it is, the labels say.
	Target uint8
	// Time is the timestamp of every sample, in milliseconds since the epoch.
	Time   int64
	Series []*Series
	// Values keeps every NaN bit pattern; value.StaleNaN ends a series.
	Values []float64
	// Starts holds start (created) timestamps in milliseconds, 0 where there is
	// none. It is nil when no series of the scrape has one.
	Starts []int64
	// Histograms are the native histograms; Exemplars belong to a series of
	// either column. No engine seen so far sends either.
	Histograms []Histogram
	Exemplars  []Exemplar
}

// Histogram is one sample of a native histogram: Int or Float is set.
type Histogram struct {
	Series *Series
	// Start is the start timestamp in milliseconds, 0 for none.
	Start int64
	Int   *histogram.Histogram
	Float *histogram.FloatHistogram
}

// Exemplar belongs to the series with that index: of Scrape.Series if the index
// is below len(Scrape.Series), of Scrape.Histograms from there on.
type Exemplar struct {
	Index int
	exemplar.Exemplar
}

// Len is the number of samples in the scrape, native histograms included. A
// sample's place in it is its ordinal: first Series, then Histograms.
func (s *Scrape) Len() int { return len(s.Series) + len(s.Histograms) }

// Reset empties the scrape and keeps its memory for the next one.
func (s *Scrape) Reset() {
	clear(s.Series)
	clear(s.Histograms)
	clear(s.Exemplars)
	s.Target, s.Time = 0, 0
	s.Series, s.Values = s.Series[:0], s.Values[:0]
	if s.Starts != nil {
		s.Starts = s.Starts[:0]
	}
	s.Histograms, s.Exemplars = s.Histograms[:0], s.Exemplars[:0]
}
